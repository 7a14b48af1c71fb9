"""``serendip judge distil``: train the relevance model on labels that passed the gate.

The model is trained on no query of the gold labels, and evaluated on these alone. Where no person
has labelled anything (``serendip llm improve``), each query is held out once: a fifth of them is
predicted by a model of the others.

The threshold of the filter is the strictest that hides hardly any relevant item. Its effect on each
fifth of the queries is measured with the threshold that the others choose.

Labels of typed texts make the model of the surfaces that answer these; labels of lists that
``serendip judge lists`` has drawn make the model of their surface. A model that also knows the user
is trained wherever the requests have users, and taken if it predicts held-out labels better.

Shapes: Q queries, P pairs, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import Catalogue, FloatArray
from serendip.engine.stages.list_filters import count_places
from serendip.engine.stages.surfaces import find_surface
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError
from serendip.evaluate.classification import (
    BinaryPredictions,
    calibration_error,
    calibration_floor,
)
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.labelled_slates import (
    FOLDS,
    LabelErrors,
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
        gold: file of labels by people; None = each query of the labels is held out once, and a
            model is published only if a training would use its threshold.
        floor: lowest kappa of the gate, for labels by an LLM.
        seen: files of pairs whose queries prompts were tuned on.
        lists: file of the lists that the labels are about; None = they are about typed texts.
        errors: of the labels that choose the threshold, by questions whose answers are known.
    """

    labels: Path
    gold: Path | None
    floor: float = 0.6
    seen: Sequence[Path] = ()
    lists: Path | None = None
    errors: LabelErrors = field(default_factory=LabelErrors)


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
    gate = _gate(distillation)
    if not gate.on:
        return {"gate": asdict(gate)}
    labels = read_labels(distillation.labels)
    gold = labels if distillation.gold is None else read_labels(distillation.gold)
    asked = AskedRequests.read(distillation.lists, [*labels, *gold])
    if distillation.gold is None:
        _require_queries("labels of lists", labels)
    else:
        labels = _exclude_gold_queries(labels, gold, asked)
        _require_queries("labels of queries without gold labels", labels)
        _require_queries("gold labels", gold)
    with closing(context.workspace.open_store()) as store:
        catalogue = Catalogue(store.items())
    reader, options = RelevanceTexts(context), context.options
    numberer = PairNumberer(catalogue, reader, asked, options)
    training = _Training(numberer, reader.items(catalogue.items, options.progress), options.seed)
    trained, gold_pairs = training.fit(labels), numberer.number(gold)
    predictions = (
        training.hold_out(labels) if distillation.gold is None else _predict(trained, gold_pairs)
    )
    slates = predictions.build_slates(
        gold_pairs, _count_places(context, asked.surface), distillation.errors
    )
    labelled = _find_labels(context, asked.surface)
    report = {
        "gate": asdict(gate),
        "labels": labelled,
        "reads": reader.reads,
        "seed": options.seed,
        "pairs": {"learned": len(labels), "gold": len(gold)},
        "queries": {"learned": len({query for query, _ in labels}), "gold": len(gold_pairs.names)},
        "knows_users": trained.chosen.model.users is not None,
        "user_gain": None if trained.user_gain is None else asdict(trained.user_gain),
        **_evaluate(predictions, gold_pairs),
        "filter": _evaluate_filter(slates),
    }
    if distillation.gold is None and reason_against_proof(report["filter"]):
        return report
    version = publish_model(
        model_folder(context.workspace, labelled),
        replace(trained.chosen.model, threshold=report["filter"]["safe_threshold"]),
        report,
    )
    return {"version": version.name, **report}


def _gate(distillation: Distillation) -> Decision:
    """Whether labels may be used: those by an LLM must agree with people."""
    if distillation.gold is None:
        return Decision("labels", True, reason="control questions")
    if not has_model_labels(distillation.labels):
        return Decision("labels", True, reason="by people")
    return gate_labels(
        Gate(distillation.labels, distillation.gold, distillation.floor, distillation.seen)
    )


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
    """Labels of queries that have no gold label."""
    gold_groups = {asked.requests[query].group for query, _ in gold}
    return {
        pair: label
        for pair, label in labels.items()
        if asked.requests[pair[0]].group not in gold_groups
    }


def _require_queries(source: str, labels: Mapping[Pair, bool]) -> None:
    """Check that enough queries have labels of both kinds.

    Raises:
        DataError: too few have.
    """
    for kind, is_irrelevant in (("relevant", False), ("irrelevant", True)):
        count = len({query for (query, _), label in labels.items() if label == is_irrelevant})
        if count < MIN_QUERIES:
            raise DataError(
                f"{source}: {count} queries have {kind} items, {MIN_QUERIES} are needed.",
                "Label pairs of more queries.",
            )


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


@dataclass(frozen=True, slots=True, eq=False)
class _Predictions:
    """Predictions for P pairs by models that have not seen their requests.

    Args:
        probabilities: (P,) P(irrelevant).
        without_users: (P,) probabilities by models without users.
        similarities: (P,) of query and item, by no training.
    """

    probabilities: FloatArray
    without_users: FloatArray
    similarities: FloatArray

    def build_slates(
        self, pairs: LabelledTexts, places: int, errors: LabelErrors
    ) -> LabelledSlates:
        """Lists in the order in which they were shown, or else by similarity."""
        order = np.where(np.isnan(pairs.places), self.similarities, -pairs.places)
        columns = pairs.is_irrelevant, pairs.queries, pairs.groups
        slates = LabelledSlates(self.probabilities, *columns, places, errors)
        return slates.sort_by(order.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """Trains on labels.

    Args:
        numberer: of labelled pairs.
        items: texts of the items.
        seed: of folds and trees.
    """

    numberer: PairNumberer
    items: ItemTexts
    seed: int

    def fit(self, labels: Mapping[Pair, bool]) -> _Trained:
        """Train with the users of the requests if these help to predict held-out pairs."""
        pairs, items = self.numberer.number(labels), self.items
        queries = QueryTexts.of(pairs.texts, pairs.vectors)
        features = PairFeatures.fit(queries, items, self.seed)
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
            return train_relevance_model(config, features, texts, examples, self.seed, users)

        plain = train()
        if not any(len(user.items) or user.attributes for user in pairs.users):
            return _Trained(plain, plain)
        of_users = UserFeatures.of(features.views, self.numberer.catalogue)
        knowing = train(LabelledUsers(of_users, pairs.users))
        without, with_ = (_measure_likelihood(pairs, one) for one in (plain, knowing))
        name = "log likelihood of held-out requests with what users chose"
        gain = choose(name, without, with_)
        return _Trained(knowing if gain.on else plain, plain, gain)

    def hold_out(self, labels: Mapping[Pair, bool]) -> _Predictions:
        """Predict the labels of each fifth of the requests by a model of the others."""
        requests = self.numberer.asked.requests
        groups = sorted({requests[query].group for query, _ in labels})
        order = np.random.default_rng(self.seed).permutation(len(groups)) % FOLDS
        fold_of = dict(zip(groups, order.tolist(), strict=True))
        folds = np.array([fold_of[requests[query].group] for query, _ in labels])  # (P,)
        found = _Predictions(*(np.zeros(len(folds), np.float32) for _ in range(3)))
        for number in range(FOLDS):
            learned, held_out = (
                dict(compress(labels.items(), mask)) for mask in (folds != number, folds == number)
            )
            if held_out:
                predicted = _predict(self.fit(learned), self.numberer.number(held_out))
                for name in fields(found):
                    getattr(found, name.name)[folds == number] = getattr(predicted, name.name)
        return found


def _measure_likelihood(pairs: LabelledTexts, trained: TrainedRelevanceModel) -> Values:
    """(G,) mean logarithm of the probabilities of the held-out labels of each group."""
    held_out = trained.is_held_out
    label, groups = pairs.is_irrelevant[held_out], pairs.groups[held_out]
    right = np.where(label, trained.probabilities, 1 - trained.probabilities)
    group_of = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(group_of, np.log(np.maximum(right, 1e-6)))
    return sums / np.bincount(group_of)


def _predict(trained: _Trained, pairs: LabelledTexts) -> _Predictions:
    """Predictions for pairs of other requests."""
    model, plain = trained.chosen.model, trained.plain.model
    probabilities = predict_irrelevant(model, pairs)
    queries = QueryTexts.of(pairs.texts, pairs.vectors)
    return _Predictions(
        probabilities,
        probabilities if plain is model else predict_irrelevant(plain, pairs),
        plain.similarities(queries, pairs.queries, pairs.items),
    )


def _evaluate(predictions: _Predictions, pairs: LabelledTexts) -> dict[str, Any]:
    """Metrics on pairs of requests that were not learned from."""
    label, probabilities = pairs.is_irrelevant, predictions.probabilities
    estimates, plain = (
        BinaryPredictions(label, scores, scores >= 0.5, pairs.groups).estimates()
        for scores in (probabilities, predictions.without_users)
    )
    return {
        "auroc_without_users": plain["auroc"].value,
        **{name: estimate.value for name, estimate in estimates.items()},
        "ci95": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
        "ece": calibration_error(label, probabilities),
        "ece_floor": calibration_floor(probabilities),
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


def _evaluate_filter(slates: LabelledSlates) -> dict[str, Any]:
    """Thresholds, and their effect on lists that they were not chosen by."""

    def choose_safe(others: LabelledSlates) -> float | None:
        return helpful_threshold(others, CAUTION * MOST_LOST, CAUTION * MOST_WRONG)

    safe, tenth = choose_safe(slates), replacement_threshold(slates, MAX_REPLACED)
    held_out = slates.cross_fit(choose_safe)
    effect = {**slates.effect(held_out), "ci95": slates.intervals(held_out)}
    return {
        "places": slates.size,
        "lists": len(np.unique(slates.slates)),
        "safe_threshold": safe,
        "safe": None if safe is None else effect,
        "tenth_threshold": min(tenth, 1.0),
        "tenth": slates.effect(tenth),
    }
