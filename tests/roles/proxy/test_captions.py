import json
from typing import Any

import pytest

from privity.errors import EngineFailedError
from privity.roles.proxy.captions import RENDERINGS


def rendered(kind: str, *segments: tuple[float, float, str], text: str = "") -> str:
    rows = [
        {"id": number, "start": start, "end": end, "text": said} for number, (start, end, said) in enumerate(segments)
    ]
    return RENDERINGS[kind].render(json.dumps({"text": text, "segments": rows}).encode()).decode()


def test_a_text_is_a_line() -> None:
    assert rendered("text", text="Grüß Gott") == "Grüß Gott\n"
    assert rendered("text") == "\n"


def test_srt_numbers_its_captions() -> None:
    assert rendered("srt", (0.0, 1.5, " Good morning."), (1.5, 3.25, " & welcome")) == (
        "1\n00:00:00,000 --> 00:00:01,500\nGood morning.\n\n2\n00:00:01,500 --> 00:00:03,250\n& welcome\n"
    )


def test_webvtt_escapes_what_is_markup() -> None:
    assert rendered("vtt", (0.0, 1.5, " a < b & c"), (1.5, 3.25, " d")) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na &lt; b &amp; c\n\n00:00:01.500 --> 00:00:03.250\nd\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0004, "00:00:00"),
        (59.9996, "00:01:00"),
        (3599.9999, "01:00:00"),
        (3600.0, "01:00:00"),
        (7325.0, "02:02:05"),
        (360_000.0, "100:00:00"),
    ],
)
def test_times_carry_over_to_minutes_and_hours(seconds: float, shown: str) -> None:
    assert f"{shown},000 --> 999:59:59,500\n" in rendered("srt", (seconds, 3_599_999.5, "a"))
    assert f"{shown}.000 --> 999:59:59.500\n" in rendered("vtt", (seconds, 3_599_999.5, "a"))


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (2.0, 2.0, "00:00:02,000 --> 00:00:02,001"),
        (2.0, 1.0, "00:00:02,000 --> 00:00:02,001"),
        (-1.0, 1.0, "00:00:00,000 --> 00:00:01,000"),
        (0.0, 1e300, "00:00:00,000 --> 2777:46:40,000"),
    ],
)
def test_a_caption_begins_before_it_ends_whatever_the_engine_says(start: float, end: float, shown: str) -> None:
    assert shown in rendered("srt", (start, end, "a"))


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@pytest.mark.parametrize("said", ["a\n\nb", "a\r\n\r\n b", "a\n 00:00 --> 00:01\nb", "a\n---->\nb", "\n\na\0", "-\r->"])
def test_a_caption_ends_where_it_should(kind: str, said: str) -> None:
    before, _, after = rendered(kind, (0.0, 1.0, said), (1.0, 2.0, "next")).partition(
        "\n\n" if kind == "srt" else "next"
    )
    lines = before.split("\n")
    text = lines[2:] if kind == "srt" else lines[3:-3]
    assert text
    assert all(text)
    assert not any("-->" in line or "\0" in line for line in text)
    assert after.count("-->") == (1 if kind == "srt" else 0)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_silence_has_no_captions(kind: str) -> None:
    assert rendered(kind, (0.0, 1.0, " \n ")).strip() == ("WEBVTT" if kind == "vtt" else "")


@pytest.mark.parametrize(
    "answer", [{}, {"text": "a"}, {"text": 1}, {"segments": None}, {"segments": [{"start": "0"}]}, []]
)
def test_an_answer_without_what_is_needed_is_the_engines_fault(answer: Any) -> None:
    with pytest.raises(EngineFailedError):
        RENDERINGS["srt"].render(json.dumps(answer).encode())
    if answer != {"text": "a"}:
        with pytest.raises(EngineFailedError):
            RENDERINGS["text"].render(json.dumps(answer).encode())


def test_what_is_asked_for_has_what_is_needed() -> None:
    assert {kind: rendering.asks_for for kind, rendering in RENDERINGS.items()} == {
        "text": b"json",
        "srt": b"verbose_json",
        "vtt": b"verbose_json",
    }
