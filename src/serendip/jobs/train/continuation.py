"""What a training continues from: content of the generation in force, and fits.

**Content.** New codebooks begin from those of the published generation, so that groups keep their
numbers, and the fusion of the modalities is kept unless there are others.

**The fit on the older part of the data** makes the training rows of the ranker. Models that are
trained by gradients are not trained again from nothing: they continue on all data, which costs a
fraction of it (``Recommender.learned``). They can do so if content vectors mean the same in both
fits, by the same fusion. A generation keeps the fit in ``ranker/older/``, and it is fitted again
only after the data have grown by ``MOST_NEW``.

**A warm start**, of ``serendip train --if-stale``, lets the fit on the older part begin from the
one in force, if what that learned still means the same and is still allowed: the learned settings
and the encoder are equal, no event was erased or imported again since, and it has not seen what the
ranker is to learn from. The fit on all data begins from the one on the older part, as in every
training. After the interactions have grown by half a training starts from nothing once more, as
weights that are tuned on held-back requests are tuned by such a training only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.content.fusion import Fusion
from serendip.data import Dataset, IntArray, Vocabulary
from serendip.data.artefact import Artefact
from serendip.data.items.catalogue import open_catalogue
from serendip.engine.artefacts.generations import (
    ERASED,
    ERASED_ITEMS,
    EVENT_SEQ,
    ITEM_VERSION,
    REMOVALS,
)
from serendip.engine.config.settings import Settings
from serendip.engine.state import EngineState
from serendip.engine.state_parts import CONTENT, RANKER, CatalogueContent
from serendip.jobs.context import JobContext
from serendip.jobs.train.ranker.labels import INNER_FRACTION, has_ranker
from serendip.jobs.train.staleness import compare_settings
from serendip.models.base import WarmStart
from serendip.runtime.versions import Version


def previous_content(current: Version | None, settings: Settings) -> CatalogueContent | None:
    """That of the generation in force; None without one, or if settings of content are others."""
    if current is None:
        return None
    tables = (CONTENT, "semantic_ids")
    if compare_settings(current.manifest["settings"], settings.learned_from(), tables):
        return None
    return CatalogueContent.open(current.folder / CONTENT)


def compare_codes(current: Version, codes: IntArray, items: Vocabulary) -> list[float]:
    """Compare codes (N, L) with those of the generation in force.

    Returns, per level, the share of shared items with the same code; last, with the same ID. Empty
    without such items, or with another number of levels.
    """
    folder = current.folder / CONTENT
    before, old = CatalogueContent.open(folder).features.codes, open_catalogue(folder).vocabulary
    rows = old.numbers(items.ids)
    new = np.flatnonzero(rows >= 0)
    if not len(new) or codes.shape[1] != before.shape[1]:
        return []
    same = codes[new] == before[rows[new]]
    return [*map(float, same.mean(0)), float(same.all(1).mean())]


OLDER_FOLDER = f"{RANKER}/older"
"""Folder in a generation."""

MOST_NEW = 0.025
"""Share of new events, items or changes of users after which the older part is fitted again. The
newer part, from which the ranker learns, has 15 % of the events."""

_ERASURES = (REMOVALS, ERASED, ERASED_ITEMS)
POSITION = (ITEM_VERSION, EVENT_SEQ, *_ERASURES)

OLDER_DATA = "older_data"
"""Fact of a manifest: position and size of the data whose older part was fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class OlderFit(Artefact):
    """The fit on the older part, without what needs much memory.

    Args:
        learned: name of a model -> arrays from which it continues; empty = it cannot.
        until: Unix seconds; it has seen the events before.
    """

    items: Vocabulary
    fusion: Fusion
    learned: Mapping[str, Mapping[str, NDArray[Any]]]
    until: float = np.inf

    @classmethod
    def of(cls, state: EngineState, until: float = np.inf) -> OlderFit:
        """Keep what later fits need of a state."""
        learned = {name: model.learned() for name, model in state.models.items()}
        return cls(state.catalogue.vocabulary, state.fusion, learned, until)

    def start(self, name: str, items: Vocabulary, fusion: Fusion) -> WarmStart | None:
        """Start of a model on items with content of ``fusion``; None = from nothing."""
        if not fusion.is_same(self.fusion):
            return None
        return WarmStart(self.learned.get(name, {}), self.items.numbers(items.ids))

    def stored(self) -> dict[str, Any]:
        """Learned numbers with half their precision: the next training moves them further."""
        halves = {
            name: {key: _halve(array) for key, array in arrays.items()}
            for name, arrays in self.learned.items()
        }
        return {**Artefact.stored(self), "learned": halves}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        learned = {
            name: {key: _double(array) for key, array in arrays.items()}
            for name, arrays in values["learned"].items()
        }
        return cls(**{**values, "learned": learned})


def _halve(array: NDArray[Any]) -> NDArray[Any]:
    """Float32 as float16 if that holds its range."""
    is_wide = array.dtype != np.float32 or np.abs(array).max(initial=0.0) > np.finfo(np.float16).max
    return np.ascontiguousarray(array if is_wide else array.astype(np.float16))


def _double(array: NDArray[Any]) -> NDArray[Any]:
    return np.array(array, np.float32 if array.dtype == np.float16 else array.dtype)


MOST_GROWTH = 1.5
"""Interactions now, over those at the last training from nothing."""

SAME_TABLES = ("actions", "content", "semantic_ids", "models", "unified")


def describe_encoder(context: JobContext) -> str:
    """Name and version of the text encoder."""
    return f"{context.encoder.name} {context.encoder.version}"


def describe_data(context: JobContext) -> dict[str, int]:
    """Position of a training in the log, and sizes of what it reads."""
    snapshot, dataset = context.snapshot, context.dataset
    place = (snapshot.item_version, snapshot.event_seq, snapshot.event_removals)
    erased = (snapshot.last_erasure, snapshot.last_item_erasure)
    sizes = {"events": len(dataset.events), "items": dataset.num_items, "users": dataset.num_users}
    position = dict(zip(POSITION, (*place, *erased), strict=True))
    return {**position, **sizes, "user_changes": snapshot.user_changes}


def describe_older_data(context: JobContext, current: Version | None) -> dict[str, int]:
    """Data whose older part is fitted: those of the generation in force, if little came since."""
    now = describe_data(context)
    before = None if current is None else current.manifest.get(OLDER_DATA)
    if before is None or any(before[name] != now[name] for name in _ERASURES):
        return now
    with context.workspace.open_store() as store:
        items = store.count_item_changes(before[ITEM_VERSION]).total
    new = {
        "events": now["events"] - before["events"],
        "items": items,
        "users": now["user_changes"] - before["user_changes"],
    }
    is_little = all(count <= MOST_NEW * before[name] for name, count in new.items())
    return dict(before) if is_little else now


def choose_start(
    context: JobContext, current: Version | None, is_wanted: bool = True
) -> tuple[OlderFit | None, dict[str, Any]]:
    """Decide what the training of a context continues from, if that ``is_wanted`` and possible.

    Returns the earlier fit, None = from nothing; and facts for the manifest: the ``generation``
    that it is of (empty = from nothing), the ``reason`` why it starts from nothing (empty = it does
    not, or nobody asked), and the interactions at the last training from nothing (``since``).
    """
    previous, generation, reason, since = None, "", "", len(context.dataset.events)
    if is_wanted and current is None:
        reason = "there is no generation"
    elif is_wanted and current is not None:
        reason = _find_obstacle(context, current)
        folder = current.folder / OLDER_FOLDER
        previous = OlderFit.open(folder) if not reason and folder.is_dir() else None
        if previous is not None and previous.until > _begin_of_newer(context.dataset):
            previous, reason = None, f"{current.name} has seen what the ranker would learn from"
        if previous is not None:
            generation, since = current.name, int(current.manifest["warm_start"]["since"])
        else:
            reason = reason or f"{current.name} has no fit to continue from"
    return previous, {"generation": generation, "reason": reason, "since": since}


def _begin_of_newer(dataset: Dataset) -> float:
    """Time from which on the ranker learns from events; infinite where it does not."""
    times = dataset.events.timestamps
    return float(times[int(INNER_FRACTION * len(times))]) if has_ranker(dataset) else np.inf


def _find_obstacle(context: JobContext, current: Version) -> str:
    """Why a training cannot continue from a generation; empty = it can."""
    manifest = current.manifest
    settings = context.settings.learned_from()
    changes = compare_settings(manifest["settings"], settings, SAME_TABLES)
    if changes:
        return f"the setting {changes[0]} has changed"
    if manifest["encoder"] != describe_encoder(context):
        return f"the encoder was {manifest['encoder']}"
    if manifest[REMOVALS] != context.snapshot.event_removals:
        return "events were imported again or erased"
    since, now = int(manifest["warm_start"]["since"]), len(context.dataset.events)
    if now > MOST_GROWTH * since:
        return (
            f"the interactions have grown from {since:,} to {now:,} since a training from nothing"
        )
    return ""
