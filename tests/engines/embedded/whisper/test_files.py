import importlib.util
from pathlib import Path

import pytest

from privity.engines.embedded.whisper.files import files_of_model, is_whisper, require_engine
from privity.errors import StartError

WHOLE = ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]


@pytest.mark.parametrize("further", [[], ["README.md"], ["preprocessor_config.json"], ["vocabulary.json"]])
def test_the_weights_come_last_of_a_models_files(further: list[str]) -> None:
    files = files_of_model([*WHOLE, *further])
    assert files[-1] == "model.bin"
    assert sorted(files) == sorted({*WHOLE, *further} - {"README.md"})


@pytest.mark.parametrize("missing", WHOLE)
def test_where_one_is_missing_there_is_no_model(missing: str) -> None:
    assert files_of_model([name for name in WHOLE if name != missing]) == ()


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (b"\x06\0\0\0\x0c\0WhisperSpec\0\x03\0\0\0", True),
        (b"\x06\0\0\0\x10\0TransformerSpec\0", False),
        (b"GGUF", False),
        (b"", False),
    ],
)
def test_weights_are_told_by_their_beginning(begin: bytes, tmp_path: Path, *, expected: bool) -> None:
    (tmp_path / "model.bin").write_bytes(begin)
    assert is_whisper(tmp_path / "model.bin") is expected


def test_without_the_engine_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_engine("a model")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(StartError) as caught:
        require_engine("a model")
    assert "a model" in caught.value.problem
    assert "pip install 'privity[audio]'" in caught.value.way_out
