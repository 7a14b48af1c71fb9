"""Sounds from files that nobody vouches for: size, length, channels and format are bounded."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.encoder import import_extra
from serendip.content.log_mel import SAMPLE_RATE
from serendip.content.media import read_bounded
from serendip.data.arrays import FloatArray
from serendip.errors import DataError

FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
HINT = 'Run `pip install "serendip[audio]"`.'

_LOWEST_RATE, _HIGHEST_RATE, _MOST_CHANNELS = 4_000, 192_000, 8
_FRAMES_AT_ONCE = 1 << 16


def read_sound(path: Path, max_bytes: int, max_seconds: float) -> FloatArray:
    """The beginning of a sound as one channel at 16 kHz, values in [-1, 1].

    A file is unpacked block by block and never beyond ``max_seconds``, however long it claims to
    be.

    Args:
        path: WAV, FLAC, Ogg, MP3 or AIFF; what it is says its content, not its name.
        max_bytes: largest file.
        max_seconds: what comes later is not heard.

    Returns:
        (S,) float32, S > 0.

    Raises:
        DataError: the file is too large, empty, of another format or broken.
        ExtraMissing: soundfile is not installed.
    """
    soundfile = import_extra("soundfile", HINT)
    data = read_bounded(path, max_bytes)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            _check(path, sound)
            rate = int(sound.samplerate)
            mono = _first_frames(sound, int(max_seconds * rate))
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        allowed = ", ".join(FORMATS)
        raise DataError(
            f"{path} is no sound that is read here: {error}", f"Use {allowed}."
        ) from None
    if not len(mono) or not np.isfinite(mono).all():
        raise DataError(f"{path} is a sound without samples, or with some that are no numbers.")
    return _resampled(np.clip(mono, -1, 1), rate)


def _check(path: Path, sound: Any) -> None:
    """Refuse what the file claims to be, before it is unpacked."""
    if sound.format not in FORMATS:
        raise DataError(f"{path} is {sound.format}.", f"Use {', '.join(FORMATS)}.")
    if not _LOWEST_RATE <= sound.samplerate <= _HIGHEST_RATE:
        raise DataError(
            f"{path} has {sound.samplerate} samples per second.",
            f"Use {_LOWEST_RATE:,} to {_HIGHEST_RATE:,}.",
        )
    if sound.channels > _MOST_CHANNELS:
        raise DataError(f"{path} has {sound.channels} channels.", f"Use {_MOST_CHANNELS} or less.")


def _first_frames(sound: Any, most: int) -> FloatArray:
    """Mean over the channels of at most ``most`` frames."""
    parts = [np.empty(0, dtype=np.float32)]
    while most > 0:
        block = sound.read(min(most, _FRAMES_AT_ONCE), dtype="float32", always_2d=True)
        if not len(block):
            break
        parts.append(block.mean(axis=1))
        most -= len(block)
    return np.concatenate(parts)


def _resampled(samples: FloatArray, rate: int) -> FloatArray:
    if rate == SAMPLE_RATE:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common), np.float32)
