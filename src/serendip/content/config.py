"""``[content]``: encoders of item content; creation of media encoders."""

from __future__ import annotations

from pathlib import Path

from serendip.content.encoders.audio import AudioConfig, open_audio_encoder
from serendip.content.encoders.image import ImageConfig, open_image_encoder
from serendip.content.encoders.media_files import Media
from serendip.content.encoders.text import TextEncoderConfig


class ContentConfig(TextEncoderConfig):
    """``[content]``: text encoder and fields; images and audio if they have a table."""

    image: ImageConfig | None = None
    """Images of the items; without this table none are read."""

    audio: AudioConfig | None = None
    """Audio files of the items; without this table none are read."""

    @property
    def media(self) -> dict[str, ImageConfig | AudioConfig]:
        """Modality -> settings of those besides text."""
        tables = {"image": self.image, "audio": self.audio}
        return {name: table for name, table in tables.items() if table is not None}

    @property
    def media_fields(self) -> tuple[str, ...]:
        """Item attributes with paths of files."""
        return tuple(table.field for table in self.media.values())


def open_media(config: ContentConfig, workspace: Path, device: str = "cpu") -> dict[str, Media]:
    """Create the configured modalities other than text; weights are loaded at the first file.

    Paths are relative to the workspace and must not leave it.

    Raises:
        ConfigError: no encoder has such a name.
    """
    media: dict[str, Media] = {}
    for name, table in config.media.items():
        if isinstance(table, ImageConfig):
            encoder = open_image_encoder(table, device)
        else:
            encoder = open_audio_encoder(table, device)
        media[name] = Media(encoder, table.field, workspace, table.max_bytes, table.read)
    return media
