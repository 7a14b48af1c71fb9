"""Texts of a workspace's items as judges read them, and their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.arrays import FloatArray
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import UnsupportedError
from serendip.models.pair_features import ItemTexts
from serendip.scale.progress import Progress


class JudgedTexts:
    """Encodes what judges read, by the encoder of a workspace, through its cache.

    Raises:
        UnsupportedError: the workspace fuses text with pictures or sounds: what was typed has no
            vector of text alone in a request.
    """

    def __init__(self, workspace: Workspace, device: str = "cpu") -> None:
        content = workspace.settings.content
        if content.media_fields:
            raise UnsupportedError(
                f"judges of matches read text alone, and [content] reads {content.media_fields[0]}"
                " as well.",
                "Leave [content.image] and [content.audio] out.",
            )
        self._fields = [name for name in content.fields if name not in ("title", "description")]
        self._encoder = open_encoder(content, device)
        self._cache = VectorCache(workspace.cache)

    @property
    def reads(self) -> str:
        """What is read and by whom: a judge is of use as long as this stays."""
        fields = ", ".join(("title", "description", *self._fields))
        return f"{fields} by {self._encoder.name} {self._encoder.version}"

    def vectors(self, texts: Sequence[str], progress: Progress) -> FloatArray:
        """(n, C) unit vectors; zeros for blank texts."""
        return self._cache.encode(self._encoder, texts, progress)

    def items(self, items: Sequence[Item], progress: Progress) -> ItemTexts:
        """Titles, descriptions, and what else ``[content] fields`` names as passages."""
        titles = [item.title for item in items]
        bodies = [item.description for item in items]
        passages = [self._passages(item) for item in items]
        vectors = self.vectors([*titles, *bodies, *chain.from_iterable(passages)], progress)
        count = len(items)
        return ItemTexts.of(
            list(zip(titles, bodies, passages, strict=True)),
            vectors[:count],
            vectors[count : 2 * count],
            vectors[2 * count :],
            np.cumsum([0, *map(len, passages)]),
        )

    def _passages(self, item: Item) -> list[str]:
        """Different texts of the fields."""
        return list(dict.fromkeys(filter(str.strip, map(item.field_text, self._fields))))
