"""Versions of the relevance model in a workspace, and the item texts that it reads.

Layout of a workspace's ``relevance/``::

    v2/value.json, ...           the model, without the items
    v2/manifest.json             written last: training labels, metrics, encoder, SHA-256s
    current                      one line, the name of the current version
    lists/<surface>/             the same of a surface by labels of its own lists

Versions are immutable. A training takes the current version into its generation, with the texts of
the items of that training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import Catalogue, FloatArray, Item
from serendip.engine.state import TYPED_TEXTS
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.models.relevance.features import ItemTexts
from serendip.models.relevance.model import LearnedRelevance, RelevanceModel
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import Progress
from serendip.runtime.versions import Version, Versions


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


def publish_model(folder: Path, model: LearnedRelevance, facts: Mapping[str, Any]) -> Version:
    """Write a version and make it current.

    Raises:
        LockedError: another process is publishing a version.
    """
    with exclusive_lock(folder):
        return model_versions(folder).publish(model.save, facts)


def restore_version(folder: Path, name: str) -> None:
    """Make an earlier version the current one; with an empty name none is.

    Raises:
        LockedError: another process is publishing a version.
    """
    versions = model_versions(folder)
    with exclusive_lock(folder):
        if name:
            versions.make_current(name)
        else:
            (folder / versions.pointer).unlink(missing_ok=True)


def model_folder(workspace: Workspace, labels: str) -> Path:
    """Folder of the versions that have learned from the labels of a surface."""
    return workspace.relevance if labels == TYPED_TEXTS else workspace.list_relevance(labels)


def current_model_names(workspace: Workspace) -> dict[str, str]:
    """Surface of the labels -> name of the current version, of those that have one.

    Raises:
        ArtefactError: a pointer is damaged.
    """
    surfaces = workspace.settings.all_surfaces().values()
    labels = sorted({TYPED_TEXTS, *(surface.relevance_filter.labels for surface in surfaces)})
    names = {one: model_versions(model_folder(workspace, one)).current_name() for one in labels}
    return {one: name for one, name in names.items() if name}


def load_relevance_models(
    context: JobContext, versions: Mapping[str, Version], catalogue: Catalogue
) -> dict[str, RelevanceModel]:
    """Versions by the surface of their labels, for all items of a training.

    Raises:
        ArtefactError: it has other features.
    """
    texts = RelevanceTexts(context).items(catalogue.items, context.options.progress)
    return {
        labels: LearnedRelevance.open(version.folder).apply(texts, catalogue)
        for labels, version in versions.items()
    }


def model_versions(folder: Path) -> Versions:
    """All versions of a relevance model."""
    return Versions(folder, "Run `serendip judge distil` first.")
