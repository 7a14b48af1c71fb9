"""Whether labels of searches have to do with their items at all: coin flips have not.

They are compared with a rule that knows little: words in common, and likeness of meaning. Its area
under the ROC curve is .5 for labels that were thrown, and below for labels that are upside down. It
need not be high; it must be above chance.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serendip.data import Catalogue, FloatArray
from serendip.data.text import tokens
from serendip.errors import DataError
from serendip.evaluate.classification import BinaryPredictions
from serendip.evaluate.decision import Decision
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import MIN_QUERIES, number_queries
from serendip.jobs.labels.pair_files import Pair, has_model_labels, read_labels

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
    """Compare labels with rules; pairs of unknown items are left out, of many a sample is read.

    Args:
        context: of the text encoder.
        catalogue: the items.
        labels: pair -> whether it is irrelevant.
    """
    name, known = "labels against words and meaning (AUROC)", list(labels)
    numbers = catalogue.vocabulary.numbers([item for _, item in known])
    rows = np.random.default_rng(0).permutation(np.flatnonzero(numbers >= 0))[:MOST_PAIRS]
    pairs = [known[row] for row in np.sort(rows).tolist()]
    is_irrelevant = np.array([labels[pair] for pair in pairs], np.bool_)
    queries = [
        len({q for (q, _), bad in zip(pairs, is_irrelevant, strict=True) if bad == kind})
        for kind in (False, True)
    ]
    if min(queries) < MIN_QUERIES:
        reason = (
            f"{queries[0]} queries have relevant items and {queries[1]} irrelevant ones; "
            f"{MIN_QUERIES} are needed to tell labels from chance"
        )
        return Decision(name, False, n=max(queries), reason=reason)
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
