"""From a file to samples: FFmpeg's readers, told to open nothing but the file."""

import io
from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from privity.engines.embedded.whisper.task import MAX_SECONDS, too_long, unreadable

SAMPLE_RATE: Final = 16_000
"""Samples a second that Whisper hears."""

PIECE_SECONDS: Final = 300
"""Seconds that are worked on at once: their spectrum takes some 250 MB."""

CUT_SECONDS: Final = 20
"""Seconds at a piece's end of which the quietest moment is taken to cut there, so that no word is cut."""

MOMENT: Final = SAMPLE_RATE // 5
"""Samples that are compared with each other: a pause between words lasts about as long."""

_FORMATS: Final = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
)
"""None of them is a playlist: these name further files and addresses, and would have them opened."""

Samples = npt.NDArray[np.int16]
Sound = npt.NDArray[np.float32]
"""Samples from -1 to 1, as the model takes them: twice as long."""


def decode(file: bytes) -> Samples:
    """Return the samples of a file's first track, as one channel.

    Raises:
        InvalidRequestError: there is none.
        PayloadTooLargeError: it lasts longer than `MAX_SECONDS`.
    """
    try:
        blocks = list(_blocks(file))
    except (av.FFmpegError, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise unreadable() from error
    if not blocks:
        raise unreadable()
    return np.concatenate(blocks)


def _blocks(file: bytes) -> Iterator[Samples]:
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    seconds = 0.0
    with av.open(io.BytesIO(file), options=options, metadata_errors="ignore") as container:
        for frame in _frames(container):
            seconds += frame.samples / frame.sample_rate  # before it is resampled: that may make far more of it
            if seconds > MAX_SECONDS:
                raise too_long()
            frame.pts = None
            yield from (each.to_ndarray()[0] for each in resampler.resample(frame))
        yield from (each.to_ndarray()[0] for each in resampler.resample(None))


def _frames(container: Any) -> Iterator[av.AudioFrame]:
    """Yield what can be decoded; players skip a damaged frame too."""
    frames = container.decode(audio=0)
    while True:
        try:
            frame = next(frames, None)
        except av.InvalidDataError:
            continue
        if frame is None:
            return
        yield frame


def sound(samples: Samples) -> Sound:
    """Return samples as the model takes them."""
    return samples.astype(np.float32) / np.float32(32768)


def pieces(samples: Samples) -> Iterator[tuple[float, Sound]]:
    """Yield the samples in pieces, each after the second at which it begins."""
    start = 0
    while len(samples) - start > PIECE_SECONDS * SAMPLE_RATE:
        end = start + PIECE_SECONDS * SAMPLE_RATE
        tail = sound(samples[end - CUT_SECONDS * SAMPLE_RATE : end])
        quietest = int(np.argmin(np.square(tail.reshape(-1, MOMENT)).sum(axis=1)))
        cut = end - CUT_SECONDS * SAMPLE_RATE + quietest * MOMENT + MOMENT // 2
        yield start / SAMPLE_RATE, sound(samples[start:cut])
        start = cut
    yield start / SAMPLE_RATE, sound(samples[start:])
