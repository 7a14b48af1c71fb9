"""Relevance models of a generation without their items, and the item texts that they read.

``serendip judge distil`` trains one, by the surface of its labels. A generation carries all of
them, and each training goes on with those of the generation in force, for the items of today.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from serendip.data import FloatArray, Item
from serendip.engine.state_parts import RELEVANCE
from serendip.jobs.context import JobContext
from serendip.models.relevance.features import ItemTexts
from serendip.models.relevance.model import LearnedRelevance
from serendip.runtime.progress import Progress
from serendip.runtime.versions import Version

REPORTS = "relevance_models"
"""Fact of a manifest: surface of the labels -> report."""


@dataclass(frozen=True, slots=True, eq=False)
class DistilledModel:
    """What a relevance model has learned, and how it was trained and measured, for JSON."""

    learned: LearnedRelevance
    report: dict[str, Any]


def open_distilled(current: Version | None) -> dict[str, DistilledModel]:
    """Models of a generation by the surface of their labels; none without one."""
    reports = {} if current is None else current.manifest.get(REPORTS, {})
    return {
        labels: DistilledModel(LearnedRelevance.open(current.folder / RELEVANCE / labels), report)
        for labels, report in reports.items()
        if current is not None
    }


class RelevanceTexts:
    """Encodes queries and items for the relevance model, through the workspace's vector cache.

    Pictures and sounds are not read: its vectors are the text encoder's, before any fusion.
    """

    def __init__(self, context: JobContext) -> None:
        content = context.settings.content
        self._fields = [name for name in content.fields if name not in ("title", "description")]
        self._encoder, self._cache = context.encoder, context.vectors

    @property
    def reads(self) -> str:
        """Fields and encoder; a relevance model can be used as long as these stay the same."""
        fields = ", ".join(("title", "description", *self._fields))
        return f"{fields} by {self._encoder.name} {self._encoder.version}"

    def vectors(self, texts: Sequence[str], progress: Progress) -> FloatArray:
        """(n, C) unit vectors; zeros for blank texts."""
        return self._cache.encode(self._encoder, texts, progress)

    def items(self, items: Sequence[Item], progress: Progress) -> ItemTexts:
        """Titles, descriptions, and the other fields of ``[content] fields`` as passages."""
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
        return list(dict.fromkeys(filter(str.strip, map(item.field_text, self._fields))))
