import io
import wave
from typing import Any

import av
import numpy as np
import pytest

from privity.engines.embedded.whisper.sound import (
    CUT_SECONDS,
    PIECE_SECONDS,
    SAMPLE_RATE,
    Samples,
    decode,
    pieces,
    sound,
)
from privity.engines.embedded.whisper.task import MAX_SECONDS
from privity.errors import InvalidRequestError, PayloadTooLargeError


def tone(seconds: float) -> Samples:
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (10_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def wav(samples: Samples, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(samples.tobytes())
    return file.getvalue()


def encoded(container: str, codec: str, rate: int) -> bytes:
    """Return one second of a tone in another format."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as written:
        stream: Any = written.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        fit = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or None)
        for piece in (*fit.resample(frame), *fit.resample(None), None):
            written.mux(stream.encode(piece))
    return file.getvalue()


def test_a_wav_file_of_our_rate_is_read_as_it_is() -> None:
    assert np.array_equal(decode(wav(tone(0.5))), tone(0.5))


def test_other_rates_and_channels_become_ours() -> None:
    assert len(decode(wav(tone(0.5), 8000))) == SAMPLE_RATE
    assert len(decode(wav(tone(0.5), channels=2))) == SAMPLE_RATE // 4


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mp3", "libmp3lame", 44_100), ("ipod", "aac", 44_100), ("webm", "libopus", 48_000), ("ogg", "libopus", 48_000)],
)
def test_usual_formats_are_read(container: str, codec: str, rate: int) -> None:
    assert len(decode(encoded(container, codec, rate))) == pytest.approx(SAMPLE_RATE, rel=0.1)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%s\n#EXT-X-ENDLIST\n"
NO_SOUND = {
    "empty": b"",
    "text": b"hello " * 100,
    "zeros": bytes(10_000),
    "head alone": wav(tone(0.0)),
    "cut head": wav(tone(0.1))[:30],
    "no rate": wav(tone(0.1))[:24] + bytes(4) + wav(tone(0.1))[28:],
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "playlist": PLAYLIST % b"/etc/passwd",
    "list": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("file", NO_SOUND.values(), ids=NO_SOUND)
def test_what_holds_no_sound_is_refused(file: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(file)
    assert caught.value.param == "file"


def test_what_lasts_too_long_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        decode(wav(np.zeros(MAX_SECONDS + 1, np.int16), 1))
    assert caught.value.param == "file"


def test_a_long_recording_is_cut_where_it_is_quiet() -> None:
    samples = np.full(2 * PIECE_SECONDS * SAMPLE_RATE, 1000, np.int16)
    pause = (PIECE_SECONDS - CUT_SECONDS // 2) * SAMPLE_RATE
    samples[pause : pause + SAMPLE_RATE] = 0
    found = list(pieces(samples))
    assert found[0][0] == 0
    assert PIECE_SECONDS - CUT_SECONDS // 2 <= found[1][0] <= PIECE_SECONDS - CUT_SECONDS // 2 + 1
    assert all(len(piece) <= PIECE_SECONDS * SAMPLE_RATE for _, piece in found)
    assert np.array_equal(np.concatenate([piece for _, piece in found]), sound(samples))
    assert [start for start, _ in found] == [
        sum(len(piece) for _, piece in found[:number]) / SAMPLE_RATE for number in range(len(found))
    ]


def test_a_short_one_is_not_cut() -> None:
    ((start, piece),) = pieces(tone(0.5))
    assert (start, len(piece)) == (0, SAMPLE_RATE // 2)
    assert np.abs(piece).max() <= 1
