"""``[content]``: everything that says what items are, and its encoders opened."""

from __future__ import annotations

from pathlib import Path

from serendip.content.audio import AudioConfig, open_audio_encoder
from serendip.content.fusion import FusionConfig
from serendip.content.image import ImageConfig, open_image_encoder
from serendip.content.media import Media
from serendip.content.text import TextEncoderConfig

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
