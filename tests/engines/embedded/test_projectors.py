from pathlib import Path

import pytest

from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.projectors import ANY, best, is_projector_name
from privity.engines.embedded.sources import FileSource
from privity.errors import StartError
from privity.testing.tiny_vision_gguf import write_tiny_vision_gguf


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmproj.gguf", True),
        ("a/MMPROJ-x.GGUF", True),
        ("mmproj/x.gguf", False),
        ("x-mmproj.gguf", False),
        ("mmproj-x.safetensors", False),
    ],
)
def test_projectors_are_told_by_their_names(name: str, *, expected: bool) -> None:
    assert is_projector_name(name) is expected


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["m-F16.gguf"], []),
        (["m.gguf", "mmproj-BF16.gguf"], ["mmproj-BF16.gguf"]),
        (["mmproj-BF16.gguf", "sub/mmproj-F16.gguf", "mmproj-F32.gguf"], ["sub/mmproj-F16.gguf"]),
        (["mmproj-x-bf16.gguf", "MMPROJ-x-q8_0.gguf", "mmproj-f32.gguf"], ["MMPROJ-x-q8_0.gguf"]),
        (["mmproj-a-f16.gguf", "mmproj-b-f16.gguf", "mmproj-a-q8_0.gguf"], ["mmproj-a-f16.gguf", "mmproj-b-f16.gguf"]),
        (["mmproj-a.gguf", "mmproj-b.gguf"], ["mmproj-a.gguf", "mmproj-b.gguf"]),
    ],
)
def test_the_best_is_the_only_one_or_of_the_best_type(there: list[str], expected: list[str]) -> None:
    assert best(there) == expected


def projector_of(directory: Path, mmproj: str = ANY) -> Path | None:
    return fetch(FileSource(str(directory / "tiny.gguf"), mmproj), directory / "cache", print).mmproj


def test_the_one_beside_the_model_is_found(tmp_path: Path) -> None:
    _, projector = write_tiny_vision_gguf(tmp_path)
    assert projector_of(tmp_path) == projector
    better = projector.rename(tmp_path / "mmproj-tiny-f16.gguf")
    (tmp_path / "mmproj-tiny-bf16.gguf").write_bytes(b"GGUF")
    assert projector_of(tmp_path) == better


def test_none_or_several_beside_the_model_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    _, projector = write_tiny_vision_gguf(tmp_path)
    other = projector.rename(tmp_path / "mmproj-a.gguf").with_name("mmproj-b.gguf")
    other.write_bytes(b"GGUF")
    with pytest.raises(StartError, match=r"There are several: mmproj-a.gguf, mmproj-b.gguf") as caught:
        projector_of(tmp_path)
    assert "#mmproj=FILE" in caught.value.way_out
    for each in (other, tmp_path / "mmproj-a.gguf"):
        each.unlink()
    with pytest.raises(StartError, match=r"No file there is called mmproj\*.gguf"):
        projector_of(tmp_path)


def test_a_model_is_no_projector_and_nor_is_anything_else(tmp_path: Path) -> None:
    write_tiny_vision_gguf(tmp_path)
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    for name in ("tiny.gguf", "cut.gguf"):
        with pytest.raises(StartError, match="is not a projector"):
            projector_of(tmp_path, str(tmp_path / name))
    with pytest.raises(StartError, match="can't be read"):
        projector_of(tmp_path, str(tmp_path / "none.gguf"))
