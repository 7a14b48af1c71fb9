"""``serendip judge distil``: labels that passed the gate become a light student that can serve.

The model is trained on no query of the gold labels, and evaluated on these alone. Half of the gold
queries choose the threshold of the filter, for a guarantee such as "at most 5 % of the shown items
are irrelevant, at a confidence of 95 %"; the other half measures the effect of the filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.text import normalise
from serendip.data.vocabulary import Vocabulary
from serendip.errors import ConfigError, DataError, UnknownItemError
from serendip.evaluate.classification import (
    BinaryPredictions,
    best_threshold,
    calibration_error,
    calibration_floor,
)
from serendip.evaluate.risk_control import LabelledSlates, safe_threshold, threshold_replacing
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import FEWEST_QUERIES, Gate, gate_labels
from serendip.jobs.labels.pair_files import Pair, has_models, read_labels
from serendip.jobs.relevance.versions import JudgedTexts, publish_model
from serendip.llm.prompts import query_digest
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import RelevanceModel
from serendip.models.relevance.train import (
    LabelledPairs,
    RelevanceModelConfig,
    TrainedRelevanceModel,
    train_relevance_model,
)
from serendip.runtime.progress import TrainOptions

SHOWN = 10
"""Places of a list that the promise is about."""
REPLACED = 0.1
"""The other threshold that is told replaces no more than this share of what is shown."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """What is asked.

    Args:
        labels: file of labels to learn from.
        gold: file of labels by people.
        floor: of the gate, for labels by a model.
        seen: files of pairs whose queries prompts were tuned on.
        allowed: share of what is shown that may be bad.
        confidence: of that promise.
    """

    labels: Path
    gold: Path
    floor: float = 0.6
    seen: Sequence[Path] = ()
    allowed: float = 0.05
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTexts:
    """Labelled pairs by number, with the texts of their queries.

    Args:
        texts: Q queries.
        vectors: (Q, C) unit vectors.
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_bad: (P,) labels.
    """

    texts: list[str]
    vectors: FloatArray
    queries: IntArray
    items: IntArray
    is_bad: BoolArray


def distil(context: JobContext, asked: Distillation) -> dict[str, Any]:
    """Hold the labels against people's, learn, tell what the student can do, and publish it.

    Returns:
        the gate's verdict; where it passed, the version and its figures.

    Raises:
        ConfigError: a share is none.
        DataError: there is nothing to learn from beside the gold, or the gold is too small.
        UnknownItemError: a labelled item is not in the workspace.
        UnsupportedError: the workspace fuses text with pictures or sounds.
    """
    _check(asked)
    labels, gold = read_labels(asked.labels), read_labels(asked.gold)
    gate: dict[str, Any] = {"verdict": "by people", "reason": ""}
    if has_models(asked.labels):
        gate = gate_labels(Gate(asked.labels, asked.gold, asked.floor, asked.seen))
        if gate["verdict"] != "passed":
            return {"gate": gate}
    lessons = _apart(labels, gold)
    reader, options = JudgedTexts(context), context.options
    with closing(context.workspace.open_store()) as store:
        items = tuple(store.items())
    vocabulary = Vocabulary(item.item_id for item in items)
    texts = reader.items(items, options.progress)
    learned, judged = (_numbered(pairs, vocabulary, reader, options) for pairs in (lessons, gold))
    taught = _taught(learned, texts, options.seed)
    facts, chose = _figures(asked, taught, learned, judged)
    threshold = facts["filter"]["safe_threshold"]
    seen = sorted(map(query_digest, {*learned.texts, *chose}))
    told = {"gate": gate, "reads": reader.reads, "seed": options.seed, **facts, "seen": seen}
    version = publish_model(
        context.workspace.relevance, replace(taught.judge, threshold=threshold), told
    )
    return {"version": version.name, **{name: told[name] for name in told if name != "seen"}}


def _check(asked: Distillation) -> None:
    for name, share in (("--allowed", asked.allowed), ("--confidence", asked.confidence)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} {share}.", "Name a share between 0 and 1.")


def _apart(labels: dict[Pair, bool], gold: dict[Pair, bool]) -> dict[Pair, bool]:
    """Labels of queries that the gold does not ask.

    Raises:
        DataError: too few are left, or the gold has too few queries of a kind.
    """
    asked = {normalise(query) for query, _ in gold}
    left = {pair: bad for pair, bad in labels.items() if normalise(pair[0]) not in asked}
    for what, pairs in (("labels of queries that the gold does not ask", left), ("gold", gold)):
        for kind, is_bad in (("good", False), ("bad", True)):
            count = len({query for (query, _), bad in pairs.items() if bad == is_bad})
            if count < FEWEST_QUERIES:
                raise DataError(
                    f"{what}: {count} queries have {kind} pairs, {FEWEST_QUERIES} are needed.",
                    "Label pairs of more queries.",
                )
    return left


def _numbered(
    pairs: dict[Pair, bool], vocabulary: Vocabulary, reader: JudgedTexts, options: TrainOptions
) -> LabelledTexts:
    numbers = np.array([vocabulary.number(item) for _, item in pairs], np.int32)
    if (numbers < 0).any():
        unknown = [item for (_, item), number in zip(pairs, numbers, strict=True) if number < 0]
        raise UnknownItemError(
            f"{len(unknown)} labels are of items that are not there, as {unknown[0]!r}.",
            "Import the items first.",
        )
    place: dict[str, int] = {}
    rows = np.array([place.setdefault(query, len(place)) for query, _ in pairs], np.int32)
    vectors = reader.vectors(list(place), options.progress)
    return LabelledTexts(
        list(place), vectors, rows, numbers, np.array(list(pairs.values()), np.bool_)
    )


def _taught(learned: LabelledTexts, items: ItemTexts, seed: int) -> TrainedRelevanceModel:
    queries = QueryTexts.of(learned.texts, learned.vectors)
    known = PairFeatures.fit(queries, items, seed)
    lessons = LabelledPairs(
        learned.queries,
        learned.items,
        learned.is_bad,
        learned.queries,
        np.ones(len(learned.items), np.bool_),
        known.of(queries, items, learned.queries, learned.items),
    )
    return train_relevance_model(RelevanceModelConfig(), known, (queries, items), lessons, seed)


def _figures(
    asked: Distillation, taught: TrainedRelevanceModel, learned: LabelledTexts, gold: LabelledTexts
) -> tuple[dict[str, Any], list[str]]:
    """What the student says of the gold, what its filter would do, and who chose its threshold."""
    probabilities = predict_irrelevant(taught.judge, gold)
    threshold = best_threshold(learned.is_bad[taught.held], taught.probabilities)
    found = BinaryPredictions(
        gold.is_bad, probabilities, probabilities >= threshold, gold.queries
    ).estimates()
    told, chose = _filter(asked, taught.judge, gold, probabilities)
    figures = {
        "pairs": {"learned": len(learned.items), "gold": len(gold.items)},
        "queries": {"learned": len(learned.texts), "gold": len(gold.texts)},
        **{name: one.value for name, one in found.items()},
        "ci95": {name: [one.low, one.high] for name, one in found.items()},
        "ece": calibration_error(gold.is_bad, probabilities),
        "ece_floor": calibration_floor(probabilities),
        "filter": told,
    }
    return figures, chose


def predict_irrelevant(judge: RelevanceModel, pairs: LabelledTexts) -> FloatArray:
    """(P,) probabilities that pairs are bad, query by query as a request asks."""
    probabilities = np.zeros(len(pairs.items), np.float32)
    for row, (text, vector) in enumerate(zip(pairs.texts, pairs.vectors, strict=True)):
        own = pairs.queries == row
        probabilities[own] = judge.probabilities(text, vector, pairs.items[own])
    return probabilities


def _filter(
    asked: Distillation, judge: RelevanceModel, gold: LabelledTexts, probabilities: FloatArray
) -> tuple[dict[str, Any], list[str]]:
    """The safe threshold by half of the queries, its effect on the others; and that half."""
    likeness = judge.likenesses(QueryTexts.of(gold.texts, gold.vectors), gold.queries, gold.items)
    judged = LabelledSlates(probabilities, gold.is_bad, gold.queries, gold.queries, SHOWN)
    calibration, told = judged.in_order(likeness).halves()
    safe = safe_threshold(calibration, asked.allowed, asked.confidence)
    safe = None if safe is None else min(safe, 1.0)
    tenth = threshold_replacing(calibration, REPLACED)
    figures = {
        "allowed": asked.allowed,
        "confidence": asked.confidence,
        "safe_threshold": safe,
        "safe": None if safe is None else told.effect(safe),
        "tenth_threshold": min(tenth, 1.0),
        "tenth": told.effect(tenth),
    }
    return figures, [gold.texts[query] for query in np.unique(calibration.lists).tolist()]
