"""``[content]``: everything that says what items are, and its encoders opened."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from serendip.config import Config
from serendip.content.encoders.audio import AudioConfig, open_audio_encoder
from serendip.content.encoders.image import ImageConfig, open_image_encoder
from serendip.content.encoders.media_files import Media
from serendip.content.encoders.text import TextEncoderConfig
from serendip.content.fusion import FusionConfig


class AlignmentConfig(Config):
    """How content vectors are moved."""

    rank: int = Field(default=128, ge=1)
    """R: directions in which vectors move; never more than D."""

    epochs: int = Field(default=4, ge=1)
    """Passes over the pairs."""

    most_pairs: int = Field(default=300_000, ge=1)
    """More pairs than this are sampled, so that training time has a limit."""

    batch_size: int = Field(default=512, ge=2)
    """Pairs per step; the others of a batch are the negatives."""

    learning_rate: float = Field(default=3e-3, gt=0)
    """Of AdamW, falling linearly to a tenth."""

    dropout: float = Field(default=0.4, ge=0, lt=1)
    """Share of content left out at random, so that no single item is learned by heart."""

    temperature: float = Field(default=0.1, gt=0)
    """Of the softmax at the start; it is learned."""


WEIGHTS_FOLDER = "weights"


class ContentConfig(TextEncoderConfig):
    """Text always; images and sounds where their tables are there."""

    image: ImageConfig | None = None
    """Pictures of the items; without this table none are read."""

    audio: AudioConfig | None = None
    """Sounds of the items; without this table none are read."""

    fusion: FusionConfig = FusionConfig()
    """How they become one vector."""

    @property
    def media_fields(self) -> tuple[str, ...]:
        """Item attributes that name files."""
        return tuple(one.field for one in (self.image, self.audio) if one is not None)


def open_media(
    config: ContentConfig, workspace: Path, cache: Path, device: str = "cpu"
) -> dict[str, Media]:
    """The modalities beside text that a config names; weights are loaded at the first file.

    Args:
        config: which ones.
        workspace: the folder that paths are relative to and must not leave.
        cache: where converted weights are kept.
        device: torch's name of where the encoders run.

    Raises:
        ConfigError: no encoder has such a name.
    """
    media: dict[str, Media] = {}
    if config.image is not None:
        encoder = open_image_encoder(config.image, cache / WEIGHTS_FOLDER, device)
        media["image"] = Media(
            encoder, config.image.field, workspace, config.image.max_bytes, config.image.read
        )
    if config.audio is not None:
        encoder = open_audio_encoder(config.audio, device)
        media["audio"] = Media(
            encoder, config.audio.field, workspace, config.audio.max_bytes, config.audio.read
        )
    return media
