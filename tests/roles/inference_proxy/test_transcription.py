import pytest

from privity.errors import InvalidRequestError
from privity.protocol.multipart import Part
from privity.roles.inference_proxy.transcription import check_form, engine_form

FILE = Part("file", b"RIFF", is_file=True)
MODEL = Part("model", b"org/Whisper")
WORDS = Part("timestamp_granularities[]", b"word")


@pytest.mark.parametrize(
    "further",
    [
        [],
        [Part("response_format", b"json")],
        [Part("response_format", b"verbose_json"), WORDS, Part("timestamp_granularities[]", b"segment")],
        *([Part("stream", each)] for each in (b"True", b"1", b"yes", b"off", b"F")),
        [Part("stream", b"true"), Part("language", b"de"), Part("new", b"\xff")],
    ],
)
def test_a_good_form_names_its_model(further: list[Part]) -> None:
    assert check_form([MODEL, *further, FILE]) == "org/Whisper"


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([MODEL], "file"),
        ([MODEL, Part("file", b"RIFF")], "file"),
        ([FILE], "model"),
        ([FILE, Part("model", b"m", is_file=True)], "model"),
        ([FILE, Part("model", b"")], "model"),
        ([FILE, Part("model", b"m\n")], "model"),
        ([FILE, MODEL, MODEL], "model"),
        ([FILE, FILE, MODEL], "file"),
        *(([FILE, MODEL, Part("response_format", each)], "response_format") for each in (b"text", b"srt", b"vtt", b"")),
        *(([FILE, MODEL, Part("stream", each)], "stream") for each in (b"2", b"truth", b"\xff", b"")),
    ],
)
def test_a_bad_form_is_told_which_field_is_wrong(parts: list[Part], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_form(parts)
    assert caught.value.param == param


def test_the_engine_gets_its_own_name_of_the_model_and_all_else_as_it_was() -> None:
    assert engine_form([WORDS, MODEL, FILE], "inner") == [Part("model", b"inner"), WORDS, FILE]
    whole = [MODEL, Part("stream", b"false"), FILE]
    assert engine_form(whole, "inner") == [Part("model", b"inner"), Part("stream", b"false"), FILE]


@pytest.mark.parametrize("written", [b"true", b"TRUE", b"1", b"on"])
def test_a_stream_reports_its_usage_and_is_asked_for_in_one_way(written: bytes) -> None:
    asked = [MODEL, Part("stream", written), Part("stream_include_usage", b"false"), FILE]
    assert engine_form(asked, "inner") == [
        Part("model", b"inner"),
        Part("stream", b"true"),
        Part("stream_include_usage", b"true"),
        Part("stream_continuous_usage_stats", b"true"),
        FILE,
    ]
