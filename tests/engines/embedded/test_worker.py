import json
from dataclasses import asdict
from pathlib import Path

import pytest

from privity.engines.embedded import worker
from privity.engines.embedded.gguf_header import GgufHeader
from privity.engines.embedded.worker import Job, embeds, tool_template
from privity.testing.programs import end_of_worker
from privity.testing.tiny_gguf import CHATML


@pytest.mark.parametrize(
    ("architecture", "pooling", "expected"),
    [
        ("bert", None, True),
        ("bert", 0, True),
        ("nomic-bert", 1, True),
        ("llama", None, False),
        ("llama", 0, False),
        ("qwen3", 1, True),
        ("qwen3", 2, True),
        ("qwen3", 3, True),
        ("qwen3", 4, False),
        ("", None, False),
    ],
)
def test_a_model_embeds_where_its_header_says_so(architecture: str, pooling: int | None, *, expected: bool) -> None:
    assert embeds(GgufHeader(architecture, None, pooling, None)) is expected


@pytest.mark.parametrize(
    ("own", "replaced"),
    [
        (CHATML, True),
        (CHATML + "{% if tools %}{{ tools }}{% endif %}", False),
        ("{{ '[INST]' + messages[0]['content'] }}", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_chatml_template_without_tools_is_replaced(own: str | None, *, replaced: bool) -> None:
    template = tool_template(GgufHeader("llama", None, None, own))
    assert (template is not None) is replaced
    if template is not None:
        assert "<tool_call>" in template
        assert "<|im_start|>" in template


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"GGUF" + bytes(100), None], ids=["empty", "text", "damaged", "none"]
)
def test_a_model_that_cannot_be_loaded_is_said_to_have_failed_in_one_word(
    content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "model.gguf").write_bytes(content)
    job = Job("m", str(tmp_path / "model.gguf"), None, str(tmp_path / "sock"), None)
    assert end_of_worker(worker.__name__, json.dumps(asdict(job))) == (1, b"failed\n", b"")
