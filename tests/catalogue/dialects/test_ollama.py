import re
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama import ListResponse, ShowResponse

from privity.catalogue.dialects import ollama
from privity.catalogue.dialects.ollama import MAX_NAME, MAX_SHOW_REQUEST, UNKNOWN_DIGEST, find_name, read_show_request
from privity.catalogue.model import Facts, Model
from privity.errors import InvalidRequestError
from privity.testing.models import models, moments

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEAST = Model(id="org/Big", tasks=("transcribe",), created=0, owned_by="org")
FULL = Model(
    id="org/Big",
    tasks=("generate", "tool_calling", "vision", "embed", "transcribe"),
    created=86400,
    owned_by="org",
    display_name="Big",
    context_length=4096,
    root="Big-Q4_1.gguf",
    facts=Facts(
        architecture="llama",
        parameters=8_030_261_248,
        quantization="Q4_1",
        size=5_000_000_000,
        sha256="ab" * 32,
        licence="apache-2.0",
        embedding_length=2048,
    ),
)
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "8.0B",
    "quantization_level": "Q4_1",
}
NO_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}


def test_a_tag_has_all_that_is_known() -> None:
    assert ollama.tag(FULL, "big", NOW) == {
        "name": "big",
        "model": "big",
        "modified_at": "1970-01-02T00:00:00Z",
        "size": 5_000_000_000,
        "digest": "ab" * 32,
        "details": DETAILS,
    }


def test_a_tag_of_unknown_weights_says_so_in_the_dialect_s_own_way() -> None:
    assert ollama.tag(LEAST, "org/Big", NOW) == {
        "name": "org/Big",
        "model": "org/Big",
        "modified_at": "1970-01-01T00:00:00Z",
        "size": 0,
        "digest": UNKNOWN_DIGEST,
        "details": NO_DETAILS,
    }


def test_an_unknown_digest_can_be_cut_to_twelve_and_is_none() -> None:
    assert len(UNKNOWN_DIGEST) >= 12
    assert not re.fullmatch(r"(sha256[:-])?[0-9a-f]+", UNKNOWN_DIGEST)


def test_show_has_all_that_is_known() -> None:
    assert ollama.show(FULL, NOW) == {
        "license": "apache-2.0",
        "details": DETAILS,
        "model_info": {
            "general.architecture": "llama",
            "general.basename": "Big",
            "general.parameter_count": 8_030_261_248,
            "llama.context_length": 4096,
            "llama.embedding_length": 2048,
        },
        "capabilities": ["completion", "tools", "vision", "embedding"],
        "modified_at": "1970-01-02T00:00:00Z",
    }


def test_show_of_what_nobody_knows_is_short() -> None:
    assert ollama.show(LEAST, NOW) == {
        "details": NO_DETAILS,
        "model_info": {"general.basename": "org/Big"},
        "capabilities": [],
        "modified_at": "1970-01-01T00:00:00Z",
    }


def test_a_length_is_told_without_an_architecture_too() -> None:
    assert ollama.show(replace(LEAST, context_length=4096), NOW)["model_info"]["general.context_length"] == 4096


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (7, "7"),
        (512_000, "512K"),
        (22_700_000, "22.70M"),
        (137_000_000, "137M"),
        (1_000_000_000, "1B"),
        (7_615_616_512, "7.6B"),
        (1_100_000_000_000, "1100B"),
    ],
)
def test_numbers_of_parameters_are_written_as_ollama_does(count: int, shown: str) -> None:
    assert ollama.parameter_size(count) == shown


@settings(max_examples=25)
@given(st.lists(models(), max_size=3), moments())
def test_ollama_s_client_reads_every_list(listed: list[Model], now: datetime) -> None:
    tags = [ollama.tag(model, each, now) for model in listed for each in model.ids]
    parsed = ListResponse.model_validate_json(msgspec.json.encode({"models": tags}))
    assert [each.model for each in parsed.models] == [each for model in listed for each in model.ids]
    assert [each.digest for each in parsed.models] == [tag["digest"] for tag in tags]


@settings(max_examples=25)
@given(models(), moments())
def test_ollama_s_client_reads_every_model(model: Model, now: datetime) -> None:
    shown = ollama.show(model, now)
    parsed = ShowResponse.model_validate_json(msgspec.json.encode(shown))
    assert parsed.modelinfo == shown["model_info"]
    assert parsed.capabilities == shown["capabilities"]
    assert None not in (*shown.values(), *shown["details"].values(), *shown["model_info"].values())


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model":"org/Big"}', "org/Big"),
        (b'{"name":"big:latest","verbose":true}', "big:latest"),
        (b'{"model":"new","name":"old"}', "new"),
        (b'{"model":"","name":"old"}', "old"),
        (b'{"model":"%b"}' % (b"x" * MAX_NAME), "x" * MAX_NAME),
    ],
)
def test_the_name_is_read_under_both_its_names(body: bytes, name: str) -> None:
    assert read_show_request(body) == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"org/Big"',
        b'{"model":null}',
        b'{"model":7}',
        b'{"model":"\xff"}',
        b'{"model":"%b"}' % (b"x" * (MAX_NAME + 1)),
        b'{"model":"x","options":%b}' % (b"[" * 10_000),
        b'{"model":"x","options":"%b"}' % (b"x" * MAX_SHOW_REQUEST),
    ],
    ids=["empty", "nameless", "array", "string", "null", "number", "not_utf_8", "long_name", "deep", "long"],
)
def test_a_bad_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_show_request(body)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_name_or_refused(body: bytes) -> None:
    try:
        assert read_show_request(body)
    except InvalidRequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("big", "big"),
        ("big:latest", "big"),
        ("tagged:latest", "tagged:latest"),
        ("both:latest", "both:latest"),
        ("both", "both"),
        ("tagged", "tagged"),
        ("none:latest", "none:latest"),
        ("big:8b", "big:8b"),
        (":latest", ":latest"),
    ],
)
def test_latest_is_dropped_only_where_that_makes_an_id(asked: str, meant: str) -> None:
    assert find_name(asked, {"big", "tagged:latest", "both", "both:latest"}.__contains__) == meant
