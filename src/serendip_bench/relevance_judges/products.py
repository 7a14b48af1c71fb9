"""Judged products as gold: is a product irrelevant to what was typed?

``items.jsonl`` holds products, ``judgements.csv`` rows of ``query, item_id, label``; label I is
bad, E, S and C (exact, substitute, complement) are good. Queries are parted into folds, so that
every pair is judged by a model that has not seen its query; of another file of judgements all pairs
are judged, by models that learned from all of the first.

Paper: Reddy et al. 2022, "Shopping Queries Dataset" (arXiv:2206.06588).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serendip.data.files.tables import open_table
from serendip.errors import DataError
from serendip.jobs.enrich.judged_queries import GAINS
from serendip_bench.datasets.esci import JUDGEMENTS_FILE, PRODUCTS_FILE, read_products
from serendip_bench.relevance_judges.gold import (
    LEARNED_ONLY,
    Gold,
    GoldPairs,
    GoldTexts,
    ListedGold,
    Lists,
    likeness,
)

PRODUCTS_FILES = (PRODUCTS_FILE, JUDGEMENTS_FILE)
BAD = "I"
FOLDS = 5
LETTERS = 300
"""Of a product's bullet points and description that are encoded: what matters comes first, and
all of it would take ten minutes."""

_COLUMNS = ("query", "item_id", "label")
_BODY, _KINDS = ("bullet_points", "description"), ("category", "brand", "color")


def read_judged_products(folder: Path, test: Path | None) -> tuple[GoldTexts, GoldPairs]:
    """Texts of products and of judged queries, and the pairs.

    Args:
        folder: of products and judgements.
        test: a second file of judgements, which is only ever judged on; None = folds of the first.

    Raises:
        DataError: a file is missing or broken, a label is unknown, no pair has a known product, or
            a query stands in both files.
    """
    catalogue = read_products(folder).catalogue
    items = catalogue.items
    number = {item.item_id: place for place, item in enumerate(items)}
    judged = _judgements(folder / JUDGEMENTS_FILE, number)
    more = [] if test is None else _judgements(test, number)
    texts = list(dict.fromkeys(query for query, _, _ in judged))
    shared = set(texts) & {query for query, _, _ in more}
    if shared:
        raise DataError(
            f"{test} asks {min(shared)!r}, which {JUDGEMENTS_FILE} asks, too.",
            "Judge on queries that nothing learned from.",
        )
    texts += dict.fromkeys(query for query, _, _ in more)
    place = {text: row for row, text in enumerate(texts)}
    rows = [*judged, *more]
    queries = np.array([place[query] for query, _, _ in rows], np.int32)
    fold = _folds(len(texts))[queries] if test is None else np.zeros(len(rows), np.int32)
    if test is not None:
        fold[: len(judged)] = LEARNED_ONLY
    pairs = GoldPairs(
        queries,
        np.array([item for _, item, _ in rows], np.int32),
        np.array([label == BAD for _, _, label in rows], np.bool_),
        fold,
        queries,
    )
    products = GoldTexts(
        texts,
        [item.title for item in items],
        catalogue.texts(_BODY),
        [[text for text in (item.field_text(name) for name in _KINDS) if text] for item in items],
        LETTERS,
    )
    return products, pairs


def judged_products_lists(gold: Gold) -> ListedGold:
    """The judged products of each query, the likest first."""
    pairs = gold.pairs.where(gold.pairs.judged)
    return ListedGold({"judged": Lists(pairs, likeness(gold.features(pairs)))})


def _folds(count: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """(Q,) fold of each query."""
    return (np.random.default_rng(0).permutation(count) % FOLDS).astype(np.int32)


def _judgements(path: Path, number: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """(query, number of the product, label) of the products that are there."""
    if not path.exists():
        raise DataError(f"{path} is missing.", f"It has the columns {', '.join(_COLUMNS)}.")
    found = []
    table = open_table(path)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}.", f"It has {list(table.columns)}.")
    for query, item, label in table.rows(_COLUMNS):
        if label not in GAINS:
            raise DataError(f"{path} has the label {label!r}.", f"Known: {', '.join(GAINS)}.")
        if str(item) in number:
            found.append((str(query), number[str(item)], str(label)))
    if not found:
        raise DataError(f"{path} judges no product of {PRODUCTS_FILE}.")
    return found
