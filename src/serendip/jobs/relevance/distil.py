"""``serendip judge distil``: train the relevance model on labels that passed the gate.

The model is trained on no query of the gold labels, and evaluated on these alone. Half of the gold
queries choose the threshold of the filter, for a guarantee such as "at most 5 % of the shown items
are irrelevant, at a confidence of 95 %"; the other half measures the effect of the filter.

Shapes: Q queries, P pairs, C size of a text vector.
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
from serendip.evaluate.risk_control import (
    LabelledSlates,
    replacement_threshold,
    safe_threshold,
)
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import MIN_QUERIES, Gate, gate_labels
from serendip.jobs.labels.pair_files import Pair, has_model_labels, read_labels
from serendip.jobs.relevance.versions import RelevanceTexts, publish_model
from serendip.llm.prompts import query_digest
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import RelevanceModel
from serendip.models.relevance.train import (
    LabelledPairs,
    RelevanceModelConfig,
    TrainedRelevanceModel,
    train_relevance_model,
)
from serendip.runtime.extras import require_training
from serendip.runtime.progress import TrainOptions

SLATE_SIZE = 10
"""Positions of a slate that the guarantee covers."""
MAX_REPLACED = 0.1
"""Largest share of the shown items that the second reported threshold replaces."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """Labels to train on, and the guarantee to choose a threshold for.

    Args:
        labels: file of labels to train on.
        gold: file of labels by people.
        floor: lowest kappa of the gate, for labels by an LLM.
        seen: files of pairs whose queries prompts were tuned on.
        allowed: share of the shown items that may be irrelevant.
        confidence: of the guarantee.
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
        is_irrelevant: (P,) labels.
    """

    texts: list[str]
    vectors: FloatArray
    queries: IntArray
    items: IntArray
    is_irrelevant: BoolArray


def distil(context: JobContext, distillation: Distillation) -> dict[str, Any]:
    """Gate the labels, train a relevance model, evaluate it on the gold labels and publish it.

    Returns:
        the verdict of the gate; if it passed, the version and its metrics.

    Raises:
        ConfigError: ``allowed`` or ``confidence`` is not between 0 and 1.
        DataError: too few labels of queries that are not in the gold labels, or too few gold
            labels.
        ExtraMissing: a package of the extra ``train`` is not installed.
        UnknownItemError: a labelled item is not in the workspace.
        UnsupportedError: the workspace fuses text with images or audio.
    """
    require_training()
    _check_shares(distillation)
    labels, gold = read_labels(distillation.labels), read_labels(distillation.gold)
    gate: dict[str, Any] = {"verdict": "by people", "reason": ""}
    if has_model_labels(distillation.labels):
        gate = gate_labels(
            Gate(distillation.labels, distillation.gold, distillation.floor, distillation.seen)
        )
        if gate["verdict"] != "passed":
            return {"gate": gate}
    train_labels = _exclude_gold_queries(labels, gold)
    reader, options = RelevanceTexts(context), context.options
    with closing(context.workspace.open_store()) as store:
        items = tuple(store.items())
    vocabulary = Vocabulary(item.item_id for item in items)
    texts = reader.items(items, options.progress)
    train_pairs, gold_pairs = (
        _number_pairs(pairs, vocabulary, reader, options) for pairs in (train_labels, gold)
    )
    trained = _train(train_pairs, texts, options.seed)
    facts, calibration_queries = _evaluate(distillation, trained, train_pairs, gold_pairs)
    threshold = facts["filter"]["safe_threshold"]
    seen = sorted(map(query_digest, {*train_pairs.texts, *calibration_queries}))
    report = {"gate": gate, "reads": reader.reads, "seed": options.seed, **facts, "seen": seen}
    version = publish_model(
        context.workspace.relevance, replace(trained.model, threshold=threshold), report
    )
    return {"version": version.name, **{name: report[name] for name in report if name != "seen"}}


def _check_shares(distillation: Distillation) -> None:
    for name, share in (
        ("--allowed", distillation.allowed),
        ("--confidence", distillation.confidence),
    ):
        if not 0 < share < 1:
            raise ConfigError(f"{name} is {share}.", "Give a share between 0 and 1.")


def _exclude_gold_queries(labels: dict[Pair, bool], gold: dict[Pair, bool]) -> dict[Pair, bool]:
    """Labels of queries that have no gold label.

    Raises:
        DataError: too few queries are left, or the gold labels cover too few.
    """
    gold_queries = {normalise(query) for query, _ in gold}
    left = {pair: label for pair, label in labels.items() if normalise(pair[0]) not in gold_queries}
    for source, pairs in (("labels of queries without gold labels", left), ("gold labels", gold)):
        for kind, is_irrelevant in (("relevant", False), ("irrelevant", True)):
            count = len({query for (query, _), label in pairs.items() if label == is_irrelevant})
            if count < MIN_QUERIES:
                raise DataError(
                    f"{source}: {count} queries have {kind} items, {MIN_QUERIES} are needed.",
                    "Label pairs of more queries.",
                )
    return left


def _number_pairs(
    pairs: dict[Pair, bool], vocabulary: Vocabulary, reader: RelevanceTexts, options: TrainOptions
) -> LabelledTexts:
    numbers = np.array([vocabulary.number(item) for _, item in pairs], np.int32)
    if (numbers < 0).any():
        unknown = [item for (_, item), number in zip(pairs, numbers, strict=True) if number < 0]
        raise UnknownItemError(
            f"{len(unknown)} labels name items that are not in the workspace, such as "
            f"{unknown[0]!r}.",
            "Import the items first.",
        )
    row_of: dict[str, int] = {}
    rows = np.array([row_of.setdefault(query, len(row_of)) for query, _ in pairs], np.int32)
    vectors = reader.vectors(list(row_of), options.progress)
    return LabelledTexts(
        list(row_of), vectors, rows, numbers, np.array(list(pairs.values()), np.bool_)
    )


def _train(pairs: LabelledTexts, items: ItemTexts, seed: int) -> TrainedRelevanceModel:
    """Train on labelled pairs; the pairs of one query are a group."""
    queries = QueryTexts.of(pairs.texts, pairs.vectors)
    features = PairFeatures.fit(queries, items, seed)
    examples = LabelledPairs(
        pairs.queries,
        pairs.items,
        pairs.is_irrelevant,
        pairs.queries,
        np.ones(len(pairs.items), np.bool_),
        features.compute(queries, items, pairs.queries, pairs.items),
    )
    return train_relevance_model(RelevanceModelConfig(), features, (queries, items), examples, seed)


def _evaluate(
    distillation: Distillation,
    trained: TrainedRelevanceModel,
    train_pairs: LabelledTexts,
    gold: LabelledTexts,
) -> tuple[dict[str, Any], list[str]]:
    """Metrics on the gold labels with the effect of the filter, and the calibration queries."""
    probabilities = predict_irrelevant(trained.model, gold)
    threshold = best_threshold(
        train_pairs.is_irrelevant[trained.is_held_out], trained.probabilities
    )
    estimates = BinaryPredictions(
        gold.is_irrelevant, probabilities, probabilities >= threshold, gold.queries
    ).estimates()
    effect, calibration_queries = _evaluate_filter(distillation, trained.model, gold, probabilities)
    facts = {
        "pairs": {"learned": len(train_pairs.items), "gold": len(gold.items)},
        "queries": {"learned": len(train_pairs.texts), "gold": len(gold.texts)},
        **{name: estimate.value for name, estimate in estimates.items()},
        "ci95": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
        "ece": calibration_error(gold.is_irrelevant, probabilities),
        "ece_floor": calibration_floor(probabilities),
        "filter": effect,
    }
    return facts, calibration_queries


def predict_irrelevant(model: RelevanceModel, pairs: LabelledTexts) -> FloatArray:
    """(P,) P(irrelevant) of pairs, query by query as for a request."""
    probabilities = np.zeros(len(pairs.items), np.float32)
    for row, (text, vector) in enumerate(zip(pairs.texts, pairs.vectors, strict=True)):
        of_query = pairs.queries == row
        probabilities[of_query] = model.probabilities(text, vector, pairs.items[of_query])
    return probabilities


def _evaluate_filter(
    distillation: Distillation,
    model: RelevanceModel,
    gold: LabelledTexts,
    probabilities: FloatArray,
) -> tuple[dict[str, Any], list[str]]:
    """Thresholds by half of the queries, their effect on the other half; and the first half."""
    similarity = model.similarities(
        QueryTexts.of(gold.texts, gold.vectors), gold.queries, gold.items
    )
    slates = LabelledSlates(
        probabilities, gold.is_irrelevant, gold.queries, gold.queries, SLATE_SIZE
    )
    calibration, test = slates.sort_by(similarity).split_in_half()
    safe = safe_threshold(calibration, distillation.allowed, distillation.confidence)
    safe = None if safe is None else min(safe, 1.0)
    tenth = replacement_threshold(calibration, MAX_REPLACED)
    facts = {
        "allowed": distillation.allowed,
        "confidence": distillation.confidence,
        "safe_threshold": safe,
        "safe": None if safe is None else {**test.effect(safe), "ci95": test.intervals(safe)},
        "tenth_threshold": min(tenth, 1.0),
        "tenth": test.effect(tenth),
    }
    return facts, [gold.texts[query] for query in np.unique(calibration.slates).tolist()]
