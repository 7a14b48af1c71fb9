"""Log-mel spectrograms in numpy: what networks for sounds look at.

96 triangular filters on Slaney's mel scale, each of area one, over the power spectrum of frames of
512 samples (periodic Hann window, one every 256 samples, mirrored at the ends), then
``log10(10000 m + 1)``: the input that musicnn was trained on.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

SAMPLE_RATE = 16_000
FRAME, HOP, NUM_MELS = 512, 256, 96
PATCH_SECONDS = 3
PATCH_FRAMES = 1 + (PATCH_SECONDS * SAMPLE_RATE - FRAME // 2) // HOP
"""187: frames that lie within three seconds."""

_LINEAR_HZ, _BREAK_HZ = 200 / 3, 1000.0
_LOG_STEP = np.log(6.4) / 27


def log_mel(samples: FloatArray) -> FloatArray:
    """Spectrogram (T, 96) float32 of (S,) samples at 16 kHz; T = 1 + S // 256, S > 256."""
    padded = np.pad(samples, FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.log10(10_000 * (power @ mel_filters().T) + 1).astype(np.float32)


def patches(samples: FloatArray) -> FloatArray:
    """Spectrograms (P, 187, 96) of pieces of three seconds; a shorter sound is repeated."""
    shortest = PATCH_SECONDS * SAMPLE_RATE
    if len(samples) < shortest:
        samples = np.resize(samples, shortest)
    spectrogram = log_mel(samples)
    count = len(spectrogram) // PATCH_FRAMES
    return spectrogram[: count * PATCH_FRAMES].reshape(count, PATCH_FRAMES, NUM_MELS)


@cache
def mel_filters() -> FloatArray:
    """(96, 257) float32 weights of the frequencies 0 to 8,000 Hz in each filter."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1)
    corners = _to_hz(np.linspace(0, _to_mel(SAMPLE_RATE / 2), NUM_MELS + 2))
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners[2:] - corners[:-2]))[:, None], dtype=np.float32)


def _to_mel(hz: float) -> float:
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - break_mel))
    return np.where(mels < break_mel, mels * _LINEAR_HZ, above)
