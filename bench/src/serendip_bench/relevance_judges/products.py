"""Judged products as gold labels: is a product irrelevant to a search query?

``items.jsonl`` holds products, ``judgements.csv`` rows of ``query, item_id, label``: label I is
irrelevant, E, S and C (exact, substitute, complement) are relevant. Queries are split into folds,
so that every pair is tested by a judge that was not trained on its query, and figures are about the
queries of one part. A second file of
judgements is for testing only: all of its pairs are tested by judges trained on the first file.

Paper: Reddy et al. 2022, "Shopping Queries Dataset" (arXiv:2206.06588).

Shapes: Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from serendip.errors import DataError
from serendip.files.tables import open_table
from serendip.jobs.llm.judged_queries import GAINS
from serendip_bench.datasets.esci import JUDGEMENTS_FILE, PRODUCTS_FILE, read_products
from serendip_bench.relevance_judges.gold import (
    TRAIN_ONLY,
    Gold,
    GoldPairs,
    GoldSlates,
    GoldTexts,
    Part,
    RankedSlates,
    is_in_part,
    mean_similarity,
)

PRODUCTS_FILES = (PRODUCTS_FILE, JUDGEMENTS_FILE)
IRRELEVANT = "I"
FOLDS = 5
LETTERS = 300
"""Number of letters of bullet points and description that are encoded: the beginning matters most,
and all of them would take ten minutes."""

_COLUMNS = ("query", "item_id", "label")
_BODY, _PASSAGES = ("bullet_points", "description"), ("category", "brand", "color")


def read_judged_products(
    folder: Path, test: Path | None, part: Part = "test"
) -> tuple[GoldTexts, GoldPairs]:
    """Texts of products and queries, and the labelled pairs.

    Args:
        folder: of products and judgements.
        test: a second file of judgements, for testing only; None = folds of the first.
        part: queries that figures are about; a second file is all about them.

    Raises:
        DataError: a file is missing or damaged, a label is unknown, no pair has a known product, or
            both files have the same query.
    """
    catalogue = read_products(folder).catalogue
    items = catalogue.items
    number = {item.item_id: place for place, item in enumerate(items)}
    judgements = _judgements(folder / JUDGEMENTS_FILE, number)
    test_judgements = [] if test is None else _judgements(test, number)
    texts = list(dict.fromkeys(query for query, _, _ in judgements))
    shared = set(texts) & {query for query, _, _ in test_judgements}
    if shared:
        raise DataError(
            f"{test} and {JUDGEMENTS_FILE} share queries, such as {min(shared)!r}.",
            "Test on queries that nothing was trained on.",
        )
    texts += dict.fromkeys(query for query, _, _ in test_judgements)
    row_of = {text: row for row, text in enumerate(texts)}
    rows = [*judgements, *test_judgements]
    queries = np.array([row_of[query] for query, _, _ in rows], np.int32)
    fold = _folds(len(texts))[queries] if test is None else np.zeros(len(rows), np.int32)
    if test is not None:
        fold[: len(judgements)] = TRAIN_ONLY
    pairs = GoldPairs(
        queries,
        np.array([item for _, item, _ in rows], np.int32),
        np.array([label == IRRELEVANT for _, _, label in rows], np.bool_),
        fold,
        queries,
        None if test is not None else is_in_part(texts, part)[queries],
    )
    products = GoldTexts(
        texts,
        [item.title for item in items],
        [item.text(_BODY) for item in items],
        [
            [text for text in (item.field_text(name) for name in _PASSAGES) if text]
            for item in items
        ],
        LETTERS,
    )
    return products, pairs


def rank_judged_products(gold: Gold, part: Part = "test") -> GoldSlates:
    """The tested products of each query, ranked by mean similarity.

    ``dev`` chooses on its own lists only; for ``test`` those of ``dev`` choose the thresholds.
    """
    pairs = gold.pairs.where(gold.pairs.is_counted if part == "dev" else gold.pairs.is_test)
    if part == "dev":
        pairs = replace(pairs, in_part=None)
    return GoldSlates(
        {"judged": RankedSlates(pairs, mean_similarity(gold.compute_features(pairs)))}
    )


def _folds(count: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """(Q,) fold of each query."""
    return (np.random.default_rng(0).permutation(count) % FOLDS).astype(np.int32)


def _judgements(path: Path, number: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """(query, number of the product, label) of all known products."""
    if not path.exists():
        raise DataError(f"{path} is missing.", f"It has the columns {', '.join(_COLUMNS)}.")
    judgements = []
    table = open_table(path)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}.", f"It has {list(table.columns)}.")
    for query, item, label in table.rows(_COLUMNS):
        if label not in GAINS:
            raise DataError(f"{path} has the label {label!r}.", f"Known: {', '.join(GAINS)}.")
        if item in number:
            judgements.append((query, number[item], label))
    if not judgements:
        raise DataError(f"{path} judges no product of {PRODUCTS_FILE}.")
    return judgements
