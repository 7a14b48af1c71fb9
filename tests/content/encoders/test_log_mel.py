import math

import numpy as np
import pytest

from serendip.content.encoders.audio import (
    FRAME,
    HOP,
    NUM_MELS,
    PATCH_FRAMES,
    SAMPLE_RATE,
    compute_log_mel,
    split_into_patches,
)


def slow_hz(mel: float) -> float:
    """Slaney's scale read off its definition: 3 mels per 200 Hz, then 27 steps per factor 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slow_filter(number: int, hertz: float) -> float:
    """Height of one triangle of area one."""
    top = 15 + 27 * math.log(8, 6.4)
    left, middle, right = (slow_hz(top * (number + k) / (NUM_MELS + 1)) for k in range(3))
    if hertz <= left or hertz >= right:
        return 0.0
    slope = (
        (hertz - left) / (middle - left) if hertz < middle else (right - hertz) / (right - middle)
    )
    return slope * 2 / (right - left)


def slow_log_mel(samples: np.ndarray, frame: int) -> list[float]:
    """One row by the definition of the discrete Fourier transform."""
    inside = []
    for place in range(frame * HOP - FRAME // 2, frame * HOP + FRAME // 2):
        mirrored = abs(place)
        if mirrored >= len(samples):
            mirrored = 2 * (len(samples) - 1) - mirrored
        inside.append(float(samples[mirrored]))
    window = [math.sin(math.pi * n / FRAME) ** 2 for n in range(FRAME)]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(FRAME // 2 + 1), np.arange(FRAME)) / FRAME)
    power = np.abs(turns @ (np.array(inside) * window)) ** 2
    row = []
    for number in range(NUM_MELS):
        heights = [slow_filter(number, k * SAMPLE_RATE / FRAME) for k in range(FRAME // 2 + 1)]
        row.append(math.log10(10_000 * float(np.dot(heights, power)) + 1))
    return row


def test_it_is_what_its_definition_says() -> None:
    samples = np.random.default_rng(0).normal(size=2000).astype(np.float32) * 0.1
    spectrogram = compute_log_mel(samples)
    assert spectrogram.shape == (1 + 2000 // HOP, NUM_MELS)
    assert spectrogram.dtype == np.float32
    for frame in (0, 3, len(spectrogram) - 1):
        np.testing.assert_allclose(spectrogram[frame], slow_log_mel(samples, frame), atol=1e-4)


def test_a_short_sound_is_repeated_to_three_seconds() -> None:
    rng = np.random.default_rng(0)
    short = rng.normal(size=16_000).astype(np.float32)
    assert np.array_equal(split_into_patches(short), split_into_patches(np.tile(short, 3)))
    assert split_into_patches(short[:1]).shape == (1, PATCH_FRAMES, NUM_MELS)


@pytest.mark.parametrize(("seconds", "count"), [(3, 1), (5.9, 1), (6, 2), (60, 20)])
def test_a_long_sound_is_cut_into_pieces(seconds: float, count: int) -> None:
    samples = np.random.default_rng(0).normal(size=int(seconds * 16_000)).astype(np.float32)
    found = split_into_patches(samples)
    assert found.shape == (count, 187, NUM_MELS)
    assert np.array_equal(found.reshape(-1, NUM_MELS), compute_log_mel(samples)[: count * 187])
