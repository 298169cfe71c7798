import pytest

from privity.engines.embedded.whisper.task import MAX_PROMPT, TRANSCRIPTIONS, TRANSLATIONS, Task, read_task
from privity.errors import InvalidRequestError, WrongTaskError
from privity.protocol.multipart import Part

FILE = Part("file", b"RIFF", is_file=True)
MODEL = Part("model", b"m")
MANY = ("en", "de", "yue")
TIMES = "timestamp_granularities[]"


def of(*fields: Part, endpoint: str = TRANSCRIPTIONS, languages: tuple[str, ...] = MANY) -> Task:
    return read_task(endpoint, [MODEL, *fields, FILE], languages)


def test_a_form_with_a_file_alone_leaves_all_to_the_model() -> None:
    assert of() == Task(b"RIFF")


@pytest.mark.parametrize("name", ["language", "prompt", "temperature"])
def test_an_empty_field_is_none(name: str) -> None:
    assert of(Part(name, b" ")) == Task(b"RIFF")


def test_each_field_is_read() -> None:
    task = of(
        *(Part("language", b"DE"), Part("prompt", b"Guten Tag."), Part("temperature", b"0.3"), Part("stream", b"On")),
        *(Part("response_format", b"verbose_json"), Part(TIMES, b"word"), Part("unknown", b"\xff")),
    )
    assert task == Task(b"RIFF", False, "de", "Guten Tag.", 0.3, True, True, frozenset({"word"}))  # noqa: FBT003


def test_of_a_long_prompt_the_end_counts() -> None:
    assert of(Part("prompt", b"a" * MAX_PROMPT + b"z")).prompt == "a" * (MAX_PROMPT - 1) + "z"


def test_neither_recording_nor_prompt_is_shown() -> None:
    assert "canary" not in repr(of(Part("prompt", b"canary")))
    assert "RIFF" not in repr(of())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("language", each) for each in (b"xx", b"english", b"\xff")),
        *(("temperature", each) for each in (b"-0.1", b"1.1", b"nan", b"inf", b"warm", b"0" * 5000 + b"x")),
        *(("response_format", each) for each in (b"", b"text", b"JSON")),
        *(("stream", each) for each in (b"", b"2")),
        *((TIMES, each) for each in (b"", b"letter")),
    ],
)
def test_a_wrong_value_is_named(name: str, value: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        of(Part(name, value))
    assert caught.value.param == name


@pytest.mark.parametrize("file", [[], [Part("file", b"RIFF")], [Part("sound", b"RIFF", is_file=True)]])
def test_a_form_without_a_file_is_refused(file: list[Part]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_task(TRANSCRIPTIONS, [MODEL, *file], MANY)
    assert caught.value.param == "file"


def test_a_model_that_knows_english_only_takes_no_other_language_and_does_not_translate() -> None:
    assert of(Part("language", b"en"), languages=("en",)).language == "en"
    with pytest.raises(InvalidRequestError, match="English only"):
        of(Part("language", b"de"), languages=("en",))
    with pytest.raises(WrongTaskError, match="English only"):
        of(endpoint=TRANSLATIONS, languages=("en",))


def test_a_model_of_several_languages_translates() -> None:
    assert of(endpoint=TRANSLATIONS).translates
    assert not of().translates
