from pathlib import Path

import numpy as np
import pytest
from sounds import sine, soundfile, tone

from serendip.content.encoders.audio import read_sound
from serendip.errors import DataError

LIMITS = {"max_bytes": 5_000_000, "max_seconds": 10.0}


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_the_formats_are_read_whatever_the_name(tmp_path: Path, suffix: str) -> None:
    path = tone(tmp_path / f"tone.{suffix}").rename(tmp_path / "tone.data")
    samples = read_sound(path, **LIMITS)
    assert samples.dtype == np.float32
    assert 15_900 < len(samples) < 18_500
    spectrum = np.abs(np.fft.rfft(samples[:16_000]))
    assert int(spectrum.argmax()) == 440


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    samples = read_sound(tone(tmp_path / "a.wav", 300, 1.0, rate), **LIMITS)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[2000:-2000], sine(300, 1.0)[2000:-2000], atol=0.02)


def test_channels_are_averaged_and_only_the_first_seconds_unpacked(tmp_path: Path) -> None:
    both = np.stack([sine(300, 0.2), np.zeros(3200, np.float32)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav", **LIMITS), sine(300, 0.2) / 2)

    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(16_000 * 600, np.int16), 16_000)
    assert path.stat().st_size < 200_000
    assert len(read_sound(path, 5_000_000, 2.5)) == 40_000


def test_what_is_no_sound_or_has_no_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for data in (b"", b"RIFF", b"words, words", np.random.default_rng(0).bytes(500)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.wav is not audio"):
            read_sound(path, **LIMITS)

    path = tmp_path / "a.wav"
    for samples in (np.empty(0, np.float32), np.array([0, np.nan, 1], np.float32)):
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        with pytest.raises(DataError, match="without samples"):
            read_sound(path, **LIMITS)


def test_other_formats_rates_and_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(300, 0.1), 16_000, format="AU")
    with pytest.raises(DataError, match="is AU"):
        read_sound(path, **LIMITS)
    soundfile.write(path, sine(300, 0.1), 1_000)
    with pytest.raises(DataError, match="1000 samples per second"):
        read_sound(path, **LIMITS)
    soundfile.write(path, np.zeros((100, 9), np.float32), 16_000)
    with pytest.raises(DataError, match="9 channels"):
        read_sound(path, **LIMITS)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_torn_and_altered_files_are_data_errors_or_sounds(tmp_path: Path, suffix: str) -> None:
    whole = tone(tmp_path / f"a.{suffix}", seconds=0.3).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"broken.{suffix}"
    for attempt in range(40):
        data = bytearray(whole)
        if attempt % 2:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            for place in rng.integers(0, min(len(data), 200), 5):
                data[place] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            assert np.isfinite(read_sound(path, **LIMITS)).all()
        except DataError as error:
            assert "broken" in str(error)
