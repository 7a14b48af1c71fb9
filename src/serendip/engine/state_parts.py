"""Parts of a generation that requests read: what is saved of each, and how a state is opened.

Each part has a folder of its own, so that a training links those that have not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.fusion import Fusion
from serendip.data import Artefact, Catalogue, Codebooks, FloatArray, IntArray, ItemFeatures
from serendip.data.events.repeats import Repeats
from serendip.data.items.catalogue import open_catalogue, save_catalogue
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import CodeCells
from serendip.engine.state import EngineState
from serendip.errors import ArtefactError
from serendip.models import open_model
from serendip.models.context_counts import ContextCounts
from serendip.models.ranker.model import Ranker
from serendip.models.relevance.features import ItemTexts
from serendip.models.relevance.model import LearnedRelevance, RelevanceModel
from serendip.search.names import ValueTable
from serendip.search.nonsense import MeaningFloor
from serendip.search.rewrites import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.ranker import FEATURES, LogisticModel
from serendip.search.suggestions.table import ItemChoices, QueryTable


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueContent(Artefact):
    """Content of the N items of a catalogue; the arguments are those of ``EngineState``."""

    features: ItemFeatures
    codebooks: Codebooks
    fusion: Fusion
    cells: CodeCells
    code_names: Mapping[str, str]
    variants: IntArray

    def values(self) -> dict[str, Any]:
        """Its arguments by name."""
        return {own.name: getattr(self, own.name) for own in fields(self)}


CONTENT, RANKER, MODELS = "content", "ranker", "models"
SUGGESTIONS, RELEVANCE = "suggestions", "relevance"
"""Parts of a generation, and their folders in it."""

_NUMBERS = "_numbers"  # a folder beside those of the models
WORDS = f"{MODELS}/_words"
"""Folder of the word index in a generation."""

_QUERIES, _QUERY_RANKER, _REWRITES, _RANKER = "queries", "ranker", "rewrites", "model"
_ITEM_TEXTS = "_items"  # texts of items, which all relevance models read


def open_state(folder: Path) -> EngineState:
    """Read the parts of a generation, whose checksums the caller has checked.

    Raises:
        ArtefactError: another version of the code saved the state, or its parts are of different
            numbers of items or sizes of vectors.
    """
    state = _with_relevance(_with_suggestions(open_models(folder), folder), folder)
    state = state.with_ranker(open_ranker(folder))
    if state.ranker is not None:
        state.ranker.require_features(state.feature_names)
    return state


def open_models(folder: Path) -> EngineState:
    """Read the parts ``CONTENT`` and ``MODELS`` of a saved state; see ``open_state``."""
    catalogue, content = open_catalogue(folder / CONTENT), CatalogueContent.open(folder / CONTENT)
    place = folder / MODELS
    learned = LearnedNumbers.open(place / _NUMBERS)
    rows: dict[str, Sized] = {"items": catalogue.available_from, "codes": content.features.codes}
    rows |= {"counts": learned.counts, "quality": learned.quality}
    sizes = {f"rows of {name}": (len(part), len(catalogue)) for name, part in rows.items()}
    _require_fitting(folder, sizes)
    searcher = Searcher.open(folder / WORDS, catalogue, learned.counts)
    state = EngineState(
        catalogue=catalogue,
        models={name: open_model(kind, place / name) for name, kind in learned.classes.items()},
        ranker=None,
        searcher=replace(searcher, values=learned.values),
        hidden=np.zeros(len(catalogue), np.bool_),
        **content.values(),
        **{name: getattr(learned, name) for name in _LEARNED},
    )
    _require_fitting(folder, _find_sizes(state))
    return state


def _with_suggestions(state: EngineState, folder: Path) -> EngineState:
    place = folder / SUGGESTIONS
    table = QueryTable.open(place / _QUERIES)
    ranker = LogisticModel.open(place / _QUERY_RANKER).require_names(FEATURES)
    queries = replace(table, choices=ItemChoices.of(state.counts))
    searcher = replace(state.searcher, rewrites=RewriteTable.open(place / _REWRITES))
    return replace(state, queries=queries, query_ranker=ranker, searcher=searcher)


def _with_relevance(state: EngineState, folder: Path) -> EngineState:
    facts = RelevanceFacts.open(folder / RELEVANCE)
    models = _open_relevance(folder / RELEVANCE, facts.models, state.catalogue)
    return replace(state, relevance_models=models, relevance_thresholds=facts.thresholds)


@dataclass(frozen=True, slots=True, eq=False)
class LearnedNumbers(Artefact):
    """What a state learned besides its models; see ``EngineState``.

    Args:
        classes: name of each model -> name of its class in the registry.
        values: of the searcher.
    """

    classes: Mapping[str, str]
    counts: IntArray
    quality: FloatArray
    mean_quality: float
    context: ContextCounts
    repeats: Repeats
    reception: Reception
    meaning_floor: MeaningFloor
    values: ValueTable


_LEARNED = [own.name for own in fields(LearnedNumbers)][1:-1]  # also parts of a state


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceFacts(Artefact):
    """Relevance models in use, by surface of their labels, and thresholds by surface."""

    models: tuple[str, ...]
    thresholds: Mapping[str, float]


def open_ranker(folder: Path) -> Ranker | None:
    """Open the ranker of a saved state, if it has one."""
    place = folder / RANKER / _RANKER
    return Ranker.open(place) if place.is_dir() else None


def save_content(catalogue: Catalogue, content: CatalogueContent, folder: Path) -> None:
    """Write the part ``CONTENT`` of a generation."""
    save_catalogue(catalogue, folder / CONTENT)
    content.save(folder / CONTENT)


def save_ranker(ranker: Ranker | None, folder: Path) -> None:
    """Write a ranker into its part of a generation, if there is one."""
    if ranker is not None:
        ranker.save(folder / RANKER / _RANKER)


def save_models(state: EngineState, folder: Path) -> None:
    """Write the part ``MODELS`` of a generation; its word index is built in ``WORDS``."""
    place, numbers = folder / MODELS, {name: getattr(state, name) for name in _LEARNED}
    classes = {name: model.name for name, model in state.models.items()}
    LearnedNumbers(classes, values=state.searcher.values, **numbers).save(place / _NUMBERS)
    for name, model in state.models.items():
        model.save(place / name)


def save_suggestions(
    table: QueryTable, ranker: LogisticModel, rewrites: RewriteTable, folder: Path
) -> None:
    """Write the part ``SUGGESTIONS`` of a generation."""
    place = folder / SUGGESTIONS
    table.save(place / _QUERIES)
    ranker.save(place / _QUERY_RANKER)
    rewrites.save(place / _REWRITES)


def save_relevance(
    learned: Mapping[str, LearnedRelevance],
    used: Sequence[str],
    thresholds: Mapping[str, float],
    items: ItemTexts | None,
    folder: Path,
) -> None:
    """Write the part ``RELEVANCE`` of a generation; models in use read the texts of ``items``."""
    place = folder / RELEVANCE
    RelevanceFacts(tuple(used), thresholds).save(place)
    if items is not None:
        items.save(place / _ITEM_TEXTS)
    for labels, model in learned.items():
        model.save(place / labels)


def _open_relevance(
    folder: Path, labels: Sequence[str], catalogue: Catalogue
) -> dict[str, RelevanceModel]:
    if not labels:
        return {}
    items = ItemTexts.open(folder / _ITEM_TEXTS)
    return {name: LearnedRelevance.open(folder / name).apply(items, catalogue) for name in labels}


def _require_fitting(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Check that parts are of the same items and sizes.

    Raises:
        ArtefactError: one is not.
    """
    for what, (found, wanted) in sizes.items():
        if found != wanted:
            raise ArtefactError(
                f"the parts of {folder} do not fit together: {found:,} {what} for {wanted:,}.",
                "Run `serendip rollback`, or train again.",
            )


def _find_sizes(state: EngineState) -> dict[str, tuple[int, int]]:
    features, (levels, _, size) = state.features, state.codebooks.centroids.shape
    parts: dict[str, Sized] = {"content": features.content, "cells": state.cells.items}
    parts |= {} if features.present is None else {"present": features.present}
    parts |= state.reception.stored()
    parts |= {"repeats": state.repeats.after} if state.repeats.is_on else {}
    rows = {f"rows of {name}": len(part) for name, part in parts.items()}
    rows |= {f"items of the model {name}": one.num_items for name, one in state.models.items()}
    return {what: (count, state.num_items) for what, count in rows.items()} | {
        "levels of codes": (features.codes.shape[1], levels),
        "values of a vector": (features.content.shape[1], size),
    }
