import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privity.engines.embedded.gguf_header import MAX_PAIRS, MAX_STRING_BYTES, BadHeaderError, GgufHeader, read_header
from privity.testing.tiny_gguf import CHATML, CONTEXT, write_tiny_gguf

STRING, ARRAY, UINT32, INT32, BOOL = 8, 9, 4, 5, 7


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def header(*pairs: bytes, version: int = 3, count: int | None = None, magic: bytes = b"GGUF") -> bytes:
    return struct.pack("<4sIQQ", magic, version, 0, len(pairs) if count is None else count) + b"".join(pairs)


BERT = pair("general.architecture", STRING, text("bert"))


def read(path: Path, content: bytes) -> GgufHeader:
    path = path / "model.gguf"
    path.write_bytes(content)
    return read_header(path)


@pytest.mark.parametrize(
    ("template", "pooling"), [(CHATML, None), (None, gguf.PoolingType.MEAN), ("x" * 20_000, gguf.PoolingType.CLS)]
)
def test_a_file_of_the_gguf_package_is_read(template: str | None, pooling: int | None, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf", chat_template=template, pooling=pooling)
    assert read_header(path) == GgufHeader("llama", CONTEXT, pooling, template)


def test_every_kind_of_value_is_stepped_over(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "all.gguf", "bert")
    for kind in gguf.GGUFValueType:
        if kind not in (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING):
            writer.add_key_value(f"x.{kind.name}", 1, kind)
    writer.add_array("x.texts", ["a", "", "äöü" * 99])
    writer.add_array("x.numbers", [1, 2, 3])
    writer.add_array("x.bools", [True, False])
    writer.add_context_length(512)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert read_header(tmp_path / "all.gguf") == GgufHeader("bert", 512, None, None)


@pytest.mark.parametrize("version", [2, 3])
def test_what_a_header_does_not_say_is_unknown(version: int, tmp_path: Path) -> None:
    assert read(tmp_path, header(version=version)) == GgufHeader("", None, None, None)


@pytest.mark.parametrize(
    "odd",
    [
        pair("bert.context_length", STRING, text("many")),
        pair("bert.pooling_type", ARRAY, number(UINT32) + struct.pack("<Q", 0)),
        pair("tokenizer.chat_template", UINT32, number(7)),
        pair("llama.context_length", UINT32, number(7)),
    ],
)
def test_facts_of_another_kind_are_unknown(odd: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, header(BERT, odd)) == GgufHeader("bert", None, None, None)


HUGE = struct.pack("<Q", 2**64 - 1)
DAMAGED = {
    "empty": b"",
    "another format": b"PK\x03\x04" + bytes(100),
    "big-endian": struct.pack(">4sIQQ", b"GGUF", 3, 0, 0),
    "version 1": header(version=1),
    "version 4": header(version=4),
    "too many pairs": header(BERT, count=MAX_PAIRS + 1),
    "fewer pairs than announced": header(BERT, count=2),
    "an unknown kind": header(pair("x", 99, b"")),
    "a list of lists": header(pair("x", ARRAY, number(ARRAY) + struct.pack("<Q", 1))),
    "a text that is too long": header(pair("x", STRING, struct.pack("<Q", MAX_STRING_BYTES + 1))),
    "a text that is cut": header(BERT[:-1]),
    "a key that is no UTF-8": header(struct.pack("<Q", 1) + b"\xff" + number(UINT32) + number(1)),
    "a text that is no UTF-8": header(pair("x", STRING, struct.pack("<Q", 1) + b"\xff")),
    "a list without end": header(pair("x", ARRAY, number(UINT32) + HUGE), BERT),
    "a list of texts without end": header(pair("x", ARRAY, number(STRING) + HUGE + text("a"))),
    "a list with a text without end": header(pair("x", ARRAY, number(STRING) + struct.pack("<Q", 2) + HUGE), BERT),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_header_is_a_bad_header(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadHeaderError):
        read(tmp_path, content)


FULL = header(
    BERT,
    pair("x", ARRAY, number(STRING) + struct.pack("<Q", 2) + text("a") + text("b")),
    pair("bert.context_length", UINT32, number(512)),
    pair("tokenizer.chat_template", STRING, text("hello")),
)


@pytest.mark.parametrize("length", range(len(FULL)))
def test_a_header_that_is_cut_anywhere_is_a_bad_header(length: int, tmp_path: Path) -> None:
    with pytest.raises(BadHeaderError):
        read(tmp_path, FULL[:length])


@given(st.integers(0, len(FULL) - 1), st.binary(min_size=1, max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example writes the file anew
def test_a_header_that_is_changed_anywhere_is_read_or_bad(tmp_path: Path, at: int, change: bytes) -> None:
    try:
        read(tmp_path, FULL[:at] + change + FULL[at + len(change) :])
    except BadHeaderError:
        return


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.gguf")
