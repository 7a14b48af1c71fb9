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
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import BoolArray, Catalogue, FloatArray, IntArray
from serendip.engine.stages.list_filters import count_places
from serendip.engine.stages.surfaces import find_surface
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError, UnknownItemError
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
from serendip.jobs.labels.agreement import find_shortage, gate_labels
from serendip.jobs.labels.pair_files import (
    ListRequest,
    Pair,
    ShownLists,
    has_model_labels,
    read_labels,
    read_lists,
)
from serendip.jobs.relevance.decisions import MOST_LOST, MOST_WRONG, reason_against_proof
from serendip.jobs.relevance.model import DistilledModel, RelevanceTexts
from serendip.models.relevance.features import (
    ItemTexts,
    PairFeatures,
    QueryTexts,
    RequestUser,
    UserFeatures,
)
from serendip.models.relevance.model import RelevanceModel
from serendip.models.relevance.train import (
    LabelledPairs,
    TrainedRelevanceModel,
    train_relevance_model,
)
from serendip.runtime.extras import require_training
from serendip.runtime.progress import TrainOptions


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTexts:
    """Labelled pairs by number, with the texts of their queries.

    Args:
        texts: Q texts that labels are about.
        vectors: (Q, C) unit vectors of these.
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_irrelevant: (P,) labels.
        groups: (P,) int32 pairs whose requests say much the same share one.
        places: (P,) place of the item in its list; NaN = it is from no list.
    """

    texts: list[str]
    vectors: FloatArray
    users: list[RequestUser]
    queries: IntArray
    items: IntArray
    is_irrelevant: BoolArray
    groups: IntArray
    places: FloatArray


def read_requests(lists: Path | None, pairs: Sequence[Pair]) -> ShownLists:
    """The requests of pairs, by their file of lists; without one they are typed texts.

    Raises:
        DataError: the file is damaged, or pairs are of none of its lists.
    """
    names = dict.fromkeys(query for query, _ in pairs)
    if lists is None:
        return ShownLists("", {name: ListRequest.of_text(name) for name in names}, {})
    shown = read_lists(lists)
    unknown = [name for name in names if name not in shown.requests]
    if unknown:
        raise DataError(
            f"{len(unknown)} labelled requests are not in {lists}, such as {unknown[0][:60]!r}.",
            "Give the file of lists that was labelled.",
        )
    return shown


MAX_REPLACED = 0.1
"""Largest share of the shown items that the second reported threshold replaces."""

_NO_ERRORS = LabelErrors()

CAUTION = 0.6
"""Part of the allowed loss that a threshold may have where it is chosen: of many the strictest is,
which is there better than elsewhere."""


def distil(
    context: JobContext,
    learned: Path,
    people: Path | None,
    floor: float = 0.6,
    seen: Sequence[Path] = (),
    lists: Path | None = None,
    errors: LabelErrors = _NO_ERRORS,
) -> tuple[dict[str, Any], dict[str, DistilledModel]]:
    """Gate the labels, train a relevance model, and evaluate it on the gold labels.

    Args:
        context: of the workspace.
        learned: file of labels to train on.
        people: file of gold labels; None = each query of the labels is held out once, and a model
            is made only if a training would use its threshold.
        floor: lowest kappa of the gate, for labels by an LLM.
        seen: files of pairs whose queries prompts were tuned on.
        lists: file of the lists that the labels are about; None = they are about typed texts.
        errors: of the labels that choose the threshold, by questions whose answers are known.

    Returns:
        the verdict of the gate and, if it passed, metrics; and what a training takes, by the
        surface of the labels: nothing if it did not pass.

    Raises:
        DataError: too few labels of queries that are not in the gold labels, or too few gold
            labels.
        ExtraMissing: a package of the extra ``train`` is not installed.
        UnknownItemError: a labelled item is not in the workspace.
        UnsupportedError: the surface of the lists is not configured.
    """
    require_training()
    if people is None:
        gate = Decision("labels", True, reason="control questions")
    elif has_model_labels(learned):  # they must agree with people
        gate = gate_labels(learned, people, floor, seen)
    else:
        gate = Decision("labels", True, reason="by people")
    if not gate.on:
        return {"gate": asdict(gate)}, {}
    labels = read_labels(learned)
    gold = labels if people is None else read_labels(people)
    asked = read_requests(lists, [*labels, *gold])
    if people is None:
        _require_queries("labels of lists", labels)
    else:
        told = {asked.requests[query].group for query, _ in gold}
        rest = (pair for pair in labels if asked.requests[pair[0]].group not in told)
        labels = {pair: labels[pair] for pair in rest}
        _require_queries("labels of queries without gold labels", labels)
        _require_queries("gold labels", gold)
    with context.workspace.open_store() as store:
        catalogue = Catalogue(store.items())
    reader, options = RelevanceTexts(context), context.options
    items = reader.items(catalogue.items, options.progress)
    training = _Training(catalogue, items, reader, asked, options)
    (trained, user_gain), gold_pairs = training.fit(labels), training.number(gold)
    held_out = people is None
    predicted = training.hold_out(labels) if held_out else _predict(trained, gold_pairs)  # (2, P)
    labelled, places = TYPED_TEXTS, count_places(None)  # typed texts are of several surfaces
    if asked.surface:
        surface = find_surface(context.settings.all_surfaces(), asked.surface)
        labelled, places = surface.labels_of(asked.surface), count_places(surface.min_value)
    slates = _build_slates(predicted, gold_pairs, places, errors)
    report = {
        "gate": asdict(gate),
        "labels": labelled,
        "reads": reader.reads,
        "seed": options.seed,
        "pairs": {"learned": len(labels), "gold": len(gold)},
        "queries": {"learned": len({query for query, _ in labels}), "gold": len(gold_pairs.texts)},
        "knows_users": trained.model.users is not None,
        "user_gain": None if user_gain is None else asdict(user_gain),
        **_evaluate(predicted[0], gold_pairs),
        "filter": _evaluate_filter(slates),
    }
    if people is None and reason_against_proof(report["filter"]):
        return report, {}
    learned_model = replace(trained.model.learned, threshold=report["filter"]["safe_threshold"])
    return report, {labelled: DistilledModel(learned_model, report)}


def _require_queries(source: str, labels: Mapping[Pair, bool]) -> None:
    if shortage := find_shortage(labels):
        raise DataError(f"{source}: {shortage}.", "Label pairs of more queries.")


def _build_slates(
    predicted: FloatArray, pairs: LabelledTexts, places: int, errors: LabelErrors
) -> LabelledSlates:
    """Lists in the order in which they were shown, or else by similarity; see ``_predict``."""
    probabilities, similarities = predicted
    order = np.where(np.isnan(pairs.places), similarities, -pairs.places).astype(np.float32)
    columns = pairs.is_irrelevant, pairs.queries, pairs.groups
    return LabelledSlates(probabilities, *columns, places, errors).sort_by(order)


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """Trains on labels; the seed of the options is that of folds and trees."""

    catalogue: Catalogue
    items: ItemTexts
    reader: RelevanceTexts
    asked: ShownLists
    options: TrainOptions

    def number(self, pairs: Mapping[Pair, bool]) -> LabelledTexts:
        numbers = self._find_items(pairs)
        names = list(dict.fromkeys(query for query, _ in pairs))
        row_of = {name: row for row, name in enumerate(names)}
        requests = [self.asked.requests[name] for name in names]
        users, texts = list[RequestUser](), list[str]()
        for request in requests:
            past = self.catalogue.vocabulary.numbers(list(request.past))
            users.append(RequestUser(past[past >= 0], request.attributes))
            newest = users[-1].items[-1:].tolist()
            texts.append(request.text or "".join(map(self.catalogue.title, newest)))
        rows = np.array([row_of[query] for query, _ in pairs], np.int32)
        group_of: dict[str, int] = {}
        groups = [group_of.setdefault(request.group, len(group_of)) for request in requests]
        places = [self.asked.places.get(pair, np.nan) for pair in pairs]
        return LabelledTexts(
            texts,
            self.reader.vectors(texts, self.options.progress),
            users,
            rows,
            numbers,
            np.array(list(pairs.values()), np.bool_),
            np.array(groups, np.int32)[rows],
            np.array(places, np.float32),
        )

    def _find_items(self, pairs: Mapping[Pair, bool]) -> IntArray:
        numbers = self.catalogue.vocabulary.numbers([item for _, item in pairs])
        if (numbers < 0).any():
            unknown = [item for (_, item), number in zip(pairs, numbers, strict=True) if number < 0]
            raise UnknownItemError(
                f"{len(unknown)} labels name items that are not in the workspace, such as "
                f"{unknown[0]!r}.",
                "Import the items first.",
            )
        return numbers

    def fit(self, labels: Mapping[Pair, bool]) -> tuple[TrainedRelevanceModel, Decision | None]:
        """Train with the users of the requests if these help to predict held-out pairs.

        Returns also what decided it; None = the requests have no users.
        """
        pairs, items = self.number(labels), self.items
        queries = QueryTexts.of(pairs.texts, pairs.vectors)
        features = PairFeatures.fit(queries, items, self.options.seed)
        examples = LabelledPairs(
            pairs.queries,
            pairs.items,
            pairs.is_irrelevant,
            pairs.groups,
            np.ones(len(pairs.items), np.bool_),
            features.compute(queries, items, pairs.queries, pairs.items),
        )
        data = features, (queries, items), examples, self.options.seed
        plain = train_relevance_model(*data)
        if not any(len(user.items) or user.attributes for user in pairs.users):
            return plain, None
        users = UserFeatures.of(features.views, self.catalogue), pairs.users
        knowing = train_relevance_model(*data, users)
        without, with_ = (_measure_likelihood(pairs, trained) for trained in (plain, knowing))
        name = "log likelihood of held-out requests with what users chose"
        gain = choose(name, without, with_)
        return knowing if gain.on else plain, gain

    def hold_out(self, labels: Mapping[Pair, bool]) -> FloatArray:
        """(2, P) Predict the labels of each fifth of the requests by a model of the others."""
        requests = self.asked.requests
        groups = sorted({requests[query].group for query, _ in labels})
        order = np.random.default_rng(self.options.seed).permutation(len(groups)) % FOLDS
        fold_of = dict(zip(groups, order.tolist(), strict=True))
        folds = np.array([fold_of[requests[query].group] for query, _ in labels])  # (P,)
        found = np.zeros((2, len(folds)), np.float32)
        for number in range(FOLDS):
            learned, held_out = (
                dict(compress(labels.items(), mask)) for mask in (folds != number, folds == number)
            )
            if held_out:
                pairs = self.number(held_out)
                found[:, folds == number] = _predict(self.fit(learned)[0], pairs)
        return found


def _measure_likelihood(pairs: LabelledTexts, trained: TrainedRelevanceModel) -> Values:
    """(G,) mean logarithm of the probabilities of the held-out labels of each group."""
    held_out = trained.is_held_out
    label, groups = pairs.is_irrelevant[held_out], pairs.groups[held_out]
    right = np.where(label, trained.probabilities, 1 - trained.probabilities)
    group_of = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(group_of, np.log(np.maximum(right, 1e-6)))
    return sums / np.bincount(group_of)


def _predict(trained: TrainedRelevanceModel, pairs: LabelledTexts) -> FloatArray:
    """(2, P) of pairs of other requests: P(irrelevant), and the similarity of query and item by no
    training.
    """
    queries = QueryTexts.of(pairs.texts, pairs.vectors)
    similarities = trained.model.similarities(queries, pairs.queries, pairs.items)
    return np.stack([predict_irrelevant(trained.model, pairs), similarities])


def _evaluate(probabilities: FloatArray, pairs: LabelledTexts) -> dict[str, Any]:
    label = pairs.is_irrelevant
    predictions = BinaryPredictions(label, probabilities, probabilities >= 0.5, pairs.groups)
    estimates = predictions.estimates()
    return {
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
