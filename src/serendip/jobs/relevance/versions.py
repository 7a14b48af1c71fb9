"""Versions of the judge of matches: immutable folders, one of them current.

Layout of a workspace's ``relevance/``::

    v2/trees.onnx, judge.*   what was learned, without the items
    v2/manifest.json         written last: what was learned from, figures, encoder, SHA-256s
    current                  one line, the name of the current version

A training takes the current version into its generation, with the items of that training.

Texts of a workspace's items as judges read them, and their vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item import Item
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, NotTrainedError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.models.relevance.features import ItemTexts
from serendip.models.relevance.model import RelevanceModel, open_model, save_model
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import Progress
from serendip.runtime.versions import Version, Versions


class JudgedTexts:
    """Encodes what judges read, by the encoder of a workspace, through its cache.

    Raises:
        UnsupportedError: the workspace fuses text with pictures or sounds: what was typed has no
            vector of text alone in a request.
    """

    def __init__(self, context: JobContext) -> None:
        content = context.settings.content
        if content.media_fields:
            raise UnsupportedError(
                f"judges of matches read text alone, and [content] reads {content.media_fields[0]}"
                " as well.",
                "Leave [content.image] and [content.audio] out.",
            )
        self._fields = [name for name in content.fields if name not in ("title", "description")]
        self._encoder, self._cache = context.encoder, context.vectors

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


_FIRST = "Run `serendip judge distil` first."


def publish_model(folder: Path, judge: RelevanceModel, facts: Mapping[str, Any]) -> Version:
    """Write a version and make it current.

    Raises:
        StorageError: another process does so now.
    """
    with exclusive_lock(folder):
        return _versions(folder).publish(lambda building: save_model(judge, building), facts)


def current_model(folder: Path) -> Version:
    """The current version, its files checked against its manifest.

    Raises:
        NotTrainedError: none was distilled.
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    student = _versions(folder).current()
    if student is None:
        raise NotTrainedError(f"{folder} has no judge of matches.", _FIRST)
    return student


def current_model_name(folder: Path) -> str:
    """Name of the current version; empty where none was distilled."""
    return _versions(folder).current_name()


def model_named(folder: Path, name: str) -> Version:
    """A version, its files checked against its manifest.

    Raises:
        ArtefactError: its manifest is not readable, or a file is missing or altered.
    """
    return _versions(folder).open(name)


def configured_version(workspace: Workspace) -> Version | None:
    """The current version, if a surface asks for it.

    Raises:
        NotTrainedError: none was distilled.
        ArtefactError: it is altered.
        DataError: a surface names no threshold, and none was proven for it.
    """
    surfaces = workspace.settings.all_surfaces().items()
    asking = {
        name: one.relevance_filter for name, one in surfaces if one.relevance_filter is not None
    }
    if not asking:
        return None
    version = current_model(workspace.relevance)
    proven = version.manifest["filter"]["safe_threshold"]
    for name, config in asking.items():
        if config.threshold is None and workspace.settings.all_surfaces()[name].needs != "query":
            raise DataError(
                f"surfaces.{name}.relevance_filter has no threshold, and `judge distil` proves one "
                "for typed text only, which this surface does not read.",
                "Set `threshold`.",
            )
        if config.threshold is None and proven is None:
            raise DataError(
                f"surfaces.{name}.relevance_filter has no threshold, "
                f"and none could be proven for {version.folder}.",
                "Set `threshold`, or distil with more gold or a larger --allowed.",
            )
    return version


def load_relevance_model(
    context: JobContext, version: Version, items: tuple[Item, ...]
) -> RelevanceModel:
    """A version for all items of a training.

    Raises:
        ArtefactError: it is of other features.
        DataError: it read other fields, or by another encoder.
    """
    texts = JudgedTexts(context)
    if version.manifest["reads"] != texts.reads:
        raise DataError(
            f"{version.folder} read {version.manifest['reads']}; now it is {texts.reads}.",
            "Run `serendip judge distil` again.",
        )
    return open_model(version.folder, texts.items(items, context.options.progress))


def _versions(folder: Path) -> Versions:
    return Versions(folder, _FIRST)
