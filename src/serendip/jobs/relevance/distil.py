"""``serendip judge distil``: train the relevance model on labels that passed the gate.

The model is trained on no query of the gold labels, and evaluated on these alone. Half of the gold
queries choose the threshold of the filter: the strictest that hides hardly any relevant item. The
other half measures the effect of the filter.

Labels of typed texts make the model of the surfaces that answer these; labels of lists that
``serendip judge lists`` has drawn make the model of their surface. A model that also knows the user
is trained wherever the requests have users, and taken if it predicts held-out labels better.

Shapes: Q queries, P pairs, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.items.catalogue import Catalogue
from serendip.engine.stages.relevance_filter import count_places
from serendip.engine.stages.surfaces import find_surface
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError
from serendip.evaluate.classification import (
    BinaryPredictions,
    best_threshold,
    calibration_error,
    calibration_floor,
)
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.labelled_slates import (
    LabelledSlates,
    helpful_threshold,
    replacement_threshold,
)
from serendip.evaluate.runs import Values
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import MIN_QUERIES, Gate, gate_labels
from serendip.jobs.labels.pair_files import Pair, has_model_labels, read_labels
from serendip.jobs.relevance.decisions import MOST_LOST, MOST_WRONG, reason_against_proof
from serendip.jobs.relevance.labelled_pairs import AskedRequests, LabelledTexts, PairNumberer
from serendip.jobs.relevance.versions import RelevanceTexts, model_folder, publish_model
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import RelevanceModel
from serendip.models.relevance.train import (
    LabelledPairs,
    LabelledUsers,
    RelevanceModelConfig,
    TrainedRelevanceModel,
    train_relevance_model,
)
from serendip.models.relevance.user_features import UserFeatures
from serendip.runtime.extras import require_training

MAX_REPLACED = 0.1
"""Largest share of the shown items that the second reported threshold replaces."""

CAUTION = 0.6
"""Part of the allowed loss that a threshold may have where it is chosen: of many the strictest is,
which is there better than elsewhere."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """Labels to train on and to choose a threshold by.

    Args:
        labels: file of labels to train on.
        gold: file of labels by people.
        floor: lowest kappa of the gate, for labels by an LLM.
        seen: files of pairs whose queries prompts were tuned on.
        lists: file of the lists that the labels are about; None = they are about typed texts.
        gate: that the labels have passed; None = they are compared with the gold.
        false_good: share of irrelevant pairs that the gold labels call relevant.
        is_tentative: publish only a model whose threshold a training would use.
    """

    labels: Path
    gold: Path
    floor: float = 0.6
    seen: Sequence[Path] = ()
    lists: Path | None = None
    gate: Decision | None = None
    false_good: float = 0.0
    is_tentative: bool = False


def distil(context: JobContext, distillation: Distillation) -> dict[str, Any]:
    """Gate the labels, train a relevance model, evaluate it on the gold labels and publish it.

    Returns:
        the verdict of the gate; if it passed, the version and its metrics.

    Raises:
        DataError: too few labels of queries that are not in the gold labels, or too few gold
            labels.
        ExtraMissing: a package of the extra ``train`` is not installed.
        UnknownItemError: a labelled item is not in the workspace.
        UnsupportedError: the surface of the lists is not configured.
    """
    require_training()
    labels, gold = read_labels(distillation.labels), read_labels(distillation.gold)
    gate = distillation.gate or Decision("labels", True, reason="by people")
    if distillation.gate is None and has_model_labels(distillation.labels):
        gate = gate_labels(
            Gate(distillation.labels, distillation.gold, distillation.floor, distillation.seen)
        )
        if not gate.on:
            return {"gate": asdict(gate)}
    asked = AskedRequests.read(distillation.lists, [*labels, *gold])
    train_labels = _exclude_gold_queries(labels, gold, asked)
    reader, options = RelevanceTexts(context), context.options
    with closing(context.workspace.open_store()) as store:
        catalogue = Catalogue(store.items())
    texts = reader.items(catalogue.items, options.progress)
    numberer = PairNumberer(catalogue, reader, asked, options)
    train_pairs, gold_pairs = (numberer.number(pairs) for pairs in (train_labels, gold))
    trained = _train(train_pairs, texts, catalogue, options.seed)
    places = _count_places(context, asked.surface)
    facts = _evaluate(distillation, places, trained, train_pairs, gold_pairs)
    threshold = facts["filter"]["safe_threshold"]
    labelled = _find_labels(context, asked.surface)
    report = {
        "gate": asdict(gate),
        "labels": labelled,
        "reads": reader.reads,
        "seed": options.seed,
        **facts,
    }
    if distillation.is_tentative and reason_against_proof(facts["filter"]):
        return report
    version = publish_model(
        model_folder(context.workspace, labelled),
        replace(trained.chosen.model, threshold=threshold),
        report,
    )
    return {"version": version.name, **report}


def _find_labels(context: JobContext, surface: str) -> str:
    """Surface whose labels these are."""
    if not surface:
        return TYPED_TEXTS
    return find_surface(context.settings.all_surfaces(), surface).labels_of(surface)


def _count_places(context: JobContext, surface: str) -> int:
    """First positions that are filtered; typed texts are of several surfaces."""
    if not surface:
        return count_places(None)
    return count_places(find_surface(context.settings.all_surfaces(), surface).min_value)


def _exclude_gold_queries(
    labels: dict[Pair, bool], gold: dict[Pair, bool], asked: AskedRequests
) -> dict[Pair, bool]:
    """Labels of queries that have no gold label.

    Raises:
        DataError: too few queries are left, or the gold labels cover too few.
    """
    groups = {query: asked.requests[query].group for query, _ in (*labels, *gold)}
    gold_groups = {groups[query] for query, _ in gold}
    left = {pair: label for pair, label in labels.items() if groups[pair[0]] not in gold_groups}
    for source, pairs in (("labels of queries without gold labels", left), ("gold labels", gold)):
        for kind, is_irrelevant in (("relevant", False), ("irrelevant", True)):
            count = len({query for (query, _), label in pairs.items() if label == is_irrelevant})
            if count < MIN_QUERIES:
                raise DataError(
                    f"{source}: {count} queries have {kind} items, {MIN_QUERIES} are needed.",
                    "Label pairs of more queries.",
                )
    return left


@dataclass(frozen=True, slots=True)
class _Trained:
    """Trained models.

    Args:
        chosen: the one to use.
        plain: without users.
        user_gain: what decided between the two; None = the requests have no users.
    """

    chosen: TrainedRelevanceModel
    plain: TrainedRelevanceModel
    user_gain: Decision | None = None


def _train(pairs: LabelledTexts, items: ItemTexts, catalogue: Catalogue, seed: int) -> _Trained:
    """Train on labelled pairs, with their users if these help to predict held-out pairs."""
    queries = QueryTexts.of(pairs.texts, pairs.vectors)
    features = PairFeatures.fit(queries, items, seed)
    examples = LabelledPairs(
        pairs.queries,
        pairs.items,
        pairs.is_irrelevant,
        pairs.groups,
        np.ones(len(pairs.items), np.bool_),
        features.compute(queries, items, pairs.queries, pairs.items),
    )

    def train(users: LabelledUsers | None = None) -> TrainedRelevanceModel:
        config, texts = RelevanceModelConfig(), (queries, items)
        return train_relevance_model(config, features, texts, examples, seed, users)

    plain = train()
    if not any(len(user.items) or user.attributes for user in pairs.users):
        return _Trained(plain, plain)
    knowing = train(LabelledUsers(UserFeatures.of(features.views, catalogue), pairs.users))
    without, with_ = (_measure_likelihood(pairs, one) for one in (plain, knowing))
    gain = choose("log likelihood of held-out requests with what users chose", without, with_)
    return _Trained(knowing if gain.on else plain, plain, gain)


def _measure_likelihood(pairs: LabelledTexts, trained: TrainedRelevanceModel) -> Values:
    """(G,) mean logarithm of the probabilities of the held-out labels of each group."""
    held_out = trained.is_held_out
    label, groups = pairs.is_irrelevant[held_out], pairs.groups[held_out]
    right = np.where(label, trained.probabilities, 1 - trained.probabilities)
    group_of = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(group_of, np.log(np.maximum(right, 1e-6)))
    return sums / np.bincount(group_of)


def _evaluate(
    asked: Distillation,
    places: int,
    trained: _Trained,
    train_pairs: LabelledTexts,
    gold: LabelledTexts,
) -> dict[str, Any]:
    """Metrics on the gold labels with the effect of the filter."""
    chosen, model = trained.chosen, trained.chosen.model
    probabilities = predict_irrelevant(model, gold)
    without = predict_irrelevant(trained.plain.model, gold)
    threshold = best_threshold(train_pairs.is_irrelevant[chosen.is_held_out], chosen.probabilities)
    estimates = BinaryPredictions(
        gold.is_irrelevant, probabilities, probabilities >= threshold, gold.groups
    ).estimates()
    plain = BinaryPredictions(gold.is_irrelevant, without, without >= threshold, gold.groups)
    return {
        "pairs": {"learned": len(train_pairs.items), "gold": len(gold.items)},
        "queries": {"learned": len(train_pairs.names), "gold": len(gold.names)},
        "knows_users": model.users is not None,
        "user_gain": None if trained.user_gain is None else asdict(trained.user_gain),
        "auroc_without_users": plain.estimates()["auroc"].value,
        **{name: estimate.value for name, estimate in estimates.items()},
        "ci95": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
        "ece": calibration_error(gold.is_irrelevant, probabilities),
        "ece_floor": calibration_floor(probabilities),
        "filter": _evaluate_filter(asked, places, model, gold, probabilities),
    }


def predict_irrelevant(model: RelevanceModel, pairs: LabelledTexts) -> FloatArray:
    """(P,) P(irrelevant) of pairs, query by query as for a request."""
    probabilities = np.zeros(len(pairs.items), np.float32)
    for row, (text, user) in enumerate(zip(pairs.texts, pairs.users, strict=True)):
        of_query = pairs.queries == row
        probabilities[of_query] = model.probabilities(
            text, pairs.vectors[row], pairs.items[of_query], user
        )
    return probabilities


def _evaluate_filter(
    asked: Distillation,
    places: int,
    model: RelevanceModel,
    gold: LabelledTexts,
    probabilities: FloatArray,
) -> dict[str, Any]:
    """Thresholds by half of the queries, and their effect on the other half."""
    similarity = model.similarities(
        QueryTexts.of(gold.texts, gold.vectors), gold.queries, gold.items
    )
    order = np.where(np.isnan(gold.places), similarity, -gold.places).astype(np.float32)
    pairs = probabilities, gold.is_irrelevant, gold.queries, gold.groups
    slates = LabelledSlates(*pairs, places, asked.false_good)
    calibration, test = slates.sort_by(order).split_in_half()
    safe = helpful_threshold(calibration, CAUTION * MOST_LOST, CAUTION * MOST_WRONG)
    tenth = replacement_threshold(calibration, MAX_REPLACED)
    return {
        "places": places,
        "lists": len(np.unique(test.slates)),
        "safe_threshold": safe,
        "safe": None if safe is None else {**test.effect(safe), "ci95": test.intervals(safe)},
        "tenth_threshold": min(tenth, 1.0),
        "tenth": test.effect(tenth),
    }
