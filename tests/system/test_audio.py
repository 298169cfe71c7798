"""Speech through `privity up`: the real model, the real client, a voice of espeak-ng."""

import json
import re
import struct
import subprocess
import urllib.request
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from privity.testing.programs import Up

MODEL = "whisper-tiny.en"
SAID = "Please open the window and tell me the time. I would like to have breakfast in the garden on Monday."
HEARD = re.compile(r"(?s).*open the window.*breakfast.*Monday")
CUE_TIMES = re.compile(r"(?m)^(\d\d:\d\d:\d\d[.,]\d\d\d) --> (\d\d:\d\d:\d\d[.,]\d\d\d)$")
LIMIT = 50 * 1024 * 1024
"""Bytes of a file."""


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run(["espeak-ng", "-s", "140", "-w", path, SAID], check=True)
    return path


def padded(wav: bytes, size: int) -> bytes:
    """Return a WAV file of so many bytes: a chunk that no player knows lies before its sound."""
    begin, rest = wav[:12], wav[12:]
    filler = size - len(wav) - 8
    return begin + b"JUNK" + struct.pack("<I", filler) + bytes(filler) + rest


def test_a_transcription_is_what_was_said(client: OpenAI, speech: Path) -> None:
    whole = client.audio.transcriptions.create(model=MODEL, file=speech, language="en", temperature=0, prompt="Hello.")
    assert HEARD.match(whole.text)
    assert whole.usage is not None
    assert whole.usage.type == "duration"
    assert 5 < whole.usage.seconds < 15


def test_a_verbose_one_has_segments_and_words_with_their_times(client: OpenAI, speech: Path) -> None:
    both = client.audio.transcriptions.create(
        model=MODEL, file=speech, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert HEARD.match(both.text)
    assert both.language == "en"
    assert both.segments
    assert both.words
    assert "".join(segment.text for segment in both.segments).strip() == both.text
    assert "".join(word.word for word in both.words) == both.text.replace(" ", "")
    times = [time for word in both.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= both.duration


def test_text_and_captions_are_made_of_it(client: OpenAI, speech: Path) -> None:
    text = client.audio.transcriptions.create(model=MODEL, file=speech, response_format="text")
    assert HEARD.match(text)
    for kind, head in (("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")):
        captions = str(client.audio.transcriptions.create(model=MODEL, file=speech, response_format=kind))  # type: ignore[call-overload]
        assert captions.startswith(head)
        assert HEARD.match(CUE_TIMES.sub("", captions).replace("\n", " "))
        assert all(start < end for start, end in CUE_TIMES.findall(captions))


def test_a_stream_tells_the_same_piece_by_piece(client: OpenAI, speech: Path) -> None:
    events = list(client.audio.transcriptions.create(model=MODEL, file=speech, stream=True))
    last = events.pop()
    assert last.type == "transcript.text.done"
    assert HEARD.match(last.text)
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == last.text


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's method, not the endpoint
def test_a_model_that_knows_english_only_does_not_translate(client: OpenAI, speech: Path) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.translations.create(model=MODEL, file=speech)
    assert caught.value.param == "model"
    assert "English only" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"RIFF" + b"no sound at all " * 100], ids=["empty", "corrupt"])
def test_a_file_without_sound_is_refused(content: bytes, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=("speech.wav", content))
    assert caught.value.param == "file"


@pytest.mark.parametrize(
    ("field", "value"),
    [("language", "de"), ("temperature", "2"), ("response_format", "yaml"), ("timestamp_granularities[]", "letter")],
)
def test_a_wrong_field_is_named(field: str, value: str, client: OpenAI, speech: Path) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=speech, extra_body={field: value})
    assert caught.value.param == field


def test_a_file_of_fifty_mebibytes_passes_and_one_byte_more_does_not(client: OpenAI, speech: Path) -> None:
    wav = speech.read_bytes()
    assert HEARD.match(client.audio.transcriptions.create(model=MODEL, file=("a.wav", padded(wav, LIMIT))).text)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", padded(wav, LIMIT + 1)))
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


def test_what_is_known_of_the_model_is_listed(running: Up) -> None:
    with urllib.request.urlopen(f"{running.url}/v1/models/{MODEL}") as response:
        row = json.load(response)
    assert (row["id"], row["owned_by"], row["tasks"]) == (MODEL, "Systran", ["transcribe"])
