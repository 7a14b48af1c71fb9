from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sounds import sine, tone

from serendip.content.encoders.audio import AudioConfig, open_audio_encoder, split_into_patches
from serendip.content.encoders.base import Encoder
from serendip.errors import ConfigError
from serendip.testing import EncoderContract

MUSICNN = pytest.mark.skipif(find_spec("musicnn") is None, reason="musicnn is not installed")


def some_sounds(folder: Path) -> list[Path | None]:
    """Three sounds of other lengths, the last one missing."""
    return [
        tone(folder / "low.wav", 220, 0.4),
        tone(folder / "also-low.flac", 220, 1.1, 44_100),
        tone(folder / "high.ogg", 3000, 7.0),
        None,
    ]


class AudioEncoderContract(EncoderContract[Path | None]):
    def inputs(self, folder: Path) -> Sequence[Path | None]:
        return some_sounds(folder)

    def test_the_same_tone_in_another_format_is_nearest(
        self, encoder: Encoder[Path | None], tmp_path: Path
    ) -> None:
        low, also_low, high, _ = encoder.encode(some_sounds(tmp_path))
        assert low @ also_low > 0.9
        assert low @ also_low > low @ high + 0.1

    def test_hearing_more_of_a_sound_is_another_version(
        self, encoder: Encoder[Path | None]
    ) -> None:
        longer = open_audio_encoder(AudioConfig(encoder=encoder.name, max_seconds=90))
        assert longer.version != encoder.version == self.make().version


@MUSICNN
class TestMusicNNEncoder(AudioEncoderContract):
    @classmethod
    def make(cls) -> Encoder[Path | None]:
        return open_audio_encoder(AudioConfig())


class TestTorchAudioEncoder(AudioEncoderContract):
    @classmethod
    def make(cls) -> Encoder[Path | None]:
        return open_audio_encoder(AudioConfig(encoder="torch:tiny_networks:mel_mean"))

    def test_a_vector_is_the_mean_over_the_pieces(
        self, encoder: Encoder[Path | None], tmp_path: Path
    ) -> None:
        path = tone(tmp_path / "a.wav", 440, 7.0)
        expected = split_into_patches(sine(440, 7.0)).mean(axis=(0, 1))
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(encoder.encode([path])[0], expected, atol=1e-3)

    def test_its_version_is_its_weights(self, encoder: Encoder[Path | None]) -> None:
        other = open_audio_encoder(AudioConfig(encoder="torch:tiny_networks:doubled"))
        assert encoder.version == self.make().version != other.version


def test_what_is_no_encoder_of_sounds_is_refused() -> None:
    for name in ("vggish", "torch:", "torch:module", "torch::callable"):
        with pytest.raises(ConfigError, match=r"Known: musicnn, torch:<module>:<callable>"):
            open_audio_encoder(AudioConfig(encoder=name))
    encoder = open_audio_encoder(AudioConfig(encoder="torch:tiny_networks:not_vectors"))
    with pytest.raises(ConfigError, match=r"\(1, 187, 96\) to \(1, 187, 96\)"):
        _ = encoder.size


@pytest.mark.parametrize("name", ["torch:no_such_module:make", "torch:tiny_networks:absent"])
def test_a_network_that_cannot_be_made_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        _ = open_audio_encoder(AudioConfig(encoder=name)).size
