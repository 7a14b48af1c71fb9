"""Whether labels can be trusted: they agree with people (Cohen's kappa), and with simple rules.

The gate decides whether labels by an LLM agree with people well enough to be used.

The gate counts only pairs of queries that nothing was tuned or trained on, which the caller names.
The lower end of kappa's interval decides: with few pairs it is low, and more labels by people raise
it. The interval is a bootstrap over queries; if all queries agree it has no width, so its lower end
is at most the kappa with one more query whose labels are all wrong.

**Plausible labels.** Coin flips have nothing to do with the items. Labels of searches are compared
with a rule that knows little: words in common, and likeness of meaning. Its area under the ROC
curve is .5 for labels that were thrown, and below for labels that are upside down. It need not be
high; it must be above chance.

Cohen 1960, "A coefficient of agreement for nominal scales".

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serendip.data import BoolArray, Catalogue, FloatArray, IntArray
from serendip.data.text import normalise, tokens
from serendip.errors import ConfigError, DataError
from serendip.evaluate.classification import BinaryPredictions, cohen_kappa
from serendip.evaluate.decision import Decision
from serendip.evaluate.intervals import Estimate
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair, has_model_labels, read_labels, read_pairs


def measure_kappa(labels: Mapping[Pair, bool], others: Mapping[Pair, bool]) -> Estimate:
    """Cohen's kappa of two mappings pair -> is it irrelevant, on the pairs that both have.

    From -1 to 1 where it is not defined: without pairs, or if all labels of both are equal.
    """
    pairs = [pair for pair in labels if pair in others]
    first, second = (
        np.array([by_pair[pair] for pair in pairs], np.bool_) for by_pair in (labels, others)
    )
    if len(set(first.tolist()) | set(second.tolist())) < 2:
        return Estimate(-1.0, -1.0, 1.0, len(pairs))
    groups = number_queries(pairs)
    kappa = BinaryPredictions(first, second.astype(np.float32), second, groups).estimates()["kappa"]
    low = min(kappa.low or 0.0, compute_cautious_kappa(first, second, groups))
    return Estimate(kappa.value, low, kappa.high or 0.0, len(pairs))


def number_queries(pairs: Sequence[Pair]) -> IntArray:
    """(P,) int32 number of each pair's query."""
    numbers = {query: place for place, query in enumerate(sorted({query for query, _ in pairs}))}
    return np.array([numbers[query] for query, _ in pairs], np.int32)


def compute_cautious_kappa(
    is_irrelevant: BoolArray, is_filtered: BoolArray, groups: IntArray
) -> float:
    """Kappa with one more query of average size whose labels are all wrong.

    A bootstrap over queries that all agree has no width, although few queries prove little.
    """
    size = max(2, round(len(groups) / (int(groups.max()) + 1)))
    extra = np.arange(size) < max(1, round(size * is_irrelevant.mean()))
    return cohen_kappa(
        np.concatenate([is_irrelevant, extra]), np.concatenate([is_filtered, ~extra])
    )


NAME = "labels against gold labels (kappa)"

MIN_QUERIES = 10
"""Least number of queries with relevant items, and of queries with irrelevant ones."""
MIN_LABELLED_SHARE = 0.9
"""Share of the gold labels that must have a label: those without one may be the hard ones."""


def gate_labels(path: Path, gold_path: Path, floor: float, seen: Sequence[Path] = ()) -> Decision:
    """Whether labels agree with gold labels by people, by Cohen's kappa.

    ``floor`` is the lowest lower end of kappa's interval that passes; ``seen`` are files of pairs
    whose queries something was tuned or trained on.

    Raises:
        ConfigError: the floor is not between -1 and 1.
        DataError: a file is damaged.
    """
    if not -1 <= floor <= 1:
        raise ConfigError(f"--floor is {floor}.", "Kappa lies between -1 and 1.")
    labels, gold = read_labels(path), read_labels(gold_path)
    pairs = [pair for pair in gold if pair in labels]
    if reason := _refusal(seen, gold, pairs):
        return Decision(NAME, False, n=len(pairs), reason=reason)
    kappa = measure_kappa(gold, labels)
    return Decision.of(NAME, kappa, floor, f"the lower end must be above {floor:g}")


def _refusal(seen: Sequence[Path], gold: Mapping[Pair, bool], pairs: Sequence[Pair]) -> str:
    queries = {normalise(query) for query, _ in pairs}
    for path in seen:
        shared = {normalise(query) for query, _ in read_pairs(path)} & queries
        if shared:
            return f"{path} has {len(shared)} of the queries, such as {min(shared)!r}"
    if len(pairs) < MIN_LABELLED_SHARE * len(gold):
        return f"{len(pairs)} of {len(gold)} gold pairs have labels"
    return find_shortage({pair: gold[pair] for pair in pairs})


def find_shortage(labels: Mapping[Pair, bool]) -> str:
    """Which kind of labels too few queries have; "" = none."""
    for kind, is_irrelevant in (("relevant", False), ("irrelevant", True)):
        count = len({query for (query, _), label in labels.items() if label == is_irrelevant})
        if count < MIN_QUERIES:
            return f"{count} queries have {kind} items; {MIN_QUERIES} are needed"
    return ""


CHANCE, LEAST = 0.5, 0.55
"""Area under the curve of coin flips, and what the upper end for labels by people must reach."""

MOST_PAIRS = 5_000


def require_plausible_labels(
    context: JobContext, catalogue: Catalogue, paths: Sequence[Path]
) -> None:
    """Refuse files of labels of searches that no rule agrees with.

    Labels by a model must be shown to be above chance; labels by people are refused if they are
    shown not to be.

    Raises:
        DataError: a file is broken, or its labels are refused.
    """
    for path in paths:
        found = check_labels(context, catalogue, read_labels(path))
        is_refused = not found.on if has_model_labels(path) else (found.high or 1.0) < LEAST
        if is_refused:
            raise DataError(
                f"{path}: {found.describe()}.",
                "Take it out of [ranker.searches] labels, or label the pairs again.",
            )


def check_labels(
    context: JobContext, catalogue: Catalogue, labels: Mapping[Pair, bool]
) -> Decision:
    """Compare labels, pair -> whether it is irrelevant, with rules; pairs of unknown items are left
    out, of many a sample is read.
    """
    name, known = "labels against words and meaning (AUROC)", list(labels)
    numbers = catalogue.vocabulary.numbers([item for _, item in known])
    rows = np.random.default_rng(0).permutation(np.flatnonzero(numbers >= 0))[:MOST_PAIRS]
    pairs = [known[row] for row in np.sort(rows).tolist()]
    is_irrelevant = np.array([labels[pair] for pair in pairs], np.bool_)
    if shortage := find_shortage({pair: labels[pair] for pair in pairs}):
        n = len({query for query, _ in pairs})
        return Decision(name, False, n=n, reason=f"{shortage} to tell labels from chance")
    groups = number_queries(pairs)
    scores = -_compute_likeness(context, catalogue, pairs)
    predictions = BinaryPredictions(is_irrelevant, scores, scores > 0, groups)
    return Decision.of(
        name,
        predictions.estimates()["auroc"],
        CHANCE,
        "they agree with neither the words nor the meaning of the items, as thrown coins would",
    )


def _compute_likeness(
    context: JobContext, catalogue: Catalogue, pairs: Sequence[Pair]
) -> FloatArray:
    """(P,) sum of the shares of a query's words in title and all texts of an item, and the cosine.

    Each is standardised.
    """
    fields = context.settings.content.fields
    found = catalogue.vocabulary.numbers([item for _, item in pairs]).tolist()
    items = {number: catalogue[number] for number in found}
    texts = {number: item.text(fields) for number, item in items.items()}
    queries = list(dict.fromkeys(query for query, _ in pairs))
    vectors = context.vectors.encode(context.encoder, [*queries, *texts.values()])
    vector_of = dict(zip([*queries, *texts], vectors, strict=True))
    words = {
        number: (set(tokens(items[number].title)), set(tokens(texts[number]))) for number in items
    }
    rows = []
    for (query, _), number in zip(pairs, found, strict=True):
        asked = set(tokens(query))
        shares = (len(asked & own) / max(1, len(asked)) for own in words[number])
        rows.append((*shares, float(vector_of[query] @ vector_of[number])))
    found_in = np.array(rows, np.float32)  # (P, 3)
    scaled = (found_in - found_in.mean(0)) / np.maximum(found_in.std(0), 1e-6)
    return np.asarray(scaled.sum(1), np.float32)
