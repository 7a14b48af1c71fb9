"""Sounds for tests, made of sines and never stored."""

from pathlib import Path

import numpy as np
import pytest

from serendip.data.arrays import FloatArray

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")


def sine(hertz: float, seconds: float, rate: int = 16_000) -> FloatArray:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def tone(path: Path, hertz: float = 440, seconds: float = 1.0, rate: int = 16_000) -> Path:
    soundfile.write(path, sine(hertz, seconds, rate), rate)
    return path
