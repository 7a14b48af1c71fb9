"""Products with judged queries: ``items.jsonl`` and ``judgements.csv`` (query, item_id, label).

Labels are exact, substitute, complement, irrelevant, with the gains of the paper. All products are
ranked for every query; unjudged products count as irrelevant.

Neither labels nor judged queries are training data. A retriever is trained on synthetic queries
from the products' fields, and on a log in which each product is chosen once, by a user of its own,
so that all products are equally popular.

Paper: Reddy et al. 2022, "Shopping Queries Dataset" (arXiv:2206.06588).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.content.synthetic_queries import write_examples
from serendip.data import Catalogue, Dataset, EventLog, IntArray, Query, Vocabulary
from serendip.data.arrays import NO_ITEMS
from serendip.data.vocabulary import MISSING
from serendip.errors import DataError
from serendip.files.config import ItemsConfig
from serendip.files.items import read_items
from serendip.files.tables import open_table
from serendip.jobs.labels.pair_files import GAINS
from serendip_bench.ranking.requests import RequestSet
from serendip_bench.ranking.splits import BenchSplit, write_queries

PRODUCTS_FILE, JUDGEMENTS_FILE = "items.jsonl", "judgements.csv"
PRODUCT_FILES = (PRODUCTS_FILE, JUDGEMENTS_FILE)

SYNTHETIC_QUERY_FIELDS = ("title", "brand", "color", "category")
PRODUCT_FIELDS = (*SYNTHETIC_QUERY_FIELDS, "bullet_points", "description")
"""Fields that are encoded and searched."""

NUM_TRAINING_QUERIES, NUM_VALIDATION_QUERIES = 20_000, 1_000


def read_products(folder: Path) -> Dataset:
    """Read products in the order of their file; no users and no events.

    Raises:
        DataError: the file is missing or invalid.
    """
    attributes = tuple(name for name in PRODUCT_FIELDS if name not in ("title", "description"))
    config = ItemsConfig(path=PRODUCTS_FILE, list_separator="", attributes=attributes)
    return Dataset(Catalogue(read_items(config, folder)), Vocabulary([]), _build_log(NO_ITEMS))


def read_judgements(folder: Path, products: Vocabulary) -> RequestSet:
    """Read one row per judged product of the catalogue; every query is its own unit.

    Raises:
        DataError: a label is unknown, or a query has no product with a gain.
    """
    table = open_table(folder / JUDGEMENTS_FILE)
    queries, items, gains = [], [], []
    query_nums: dict[str, int] = {}
    rows = table.rows(("query", "item_id", "label"))
    for line, (text, product, label) in enumerate(rows, start=2):
        if label not in GAINS:
            raise DataError(f"{table.path}:{line}: label {label!r}.", f"Known: {', '.join(GAINS)}.")
        number = products.number(product)
        if number != MISSING:
            query_nums.setdefault(text, len(query_nums))
            queries.append(Query("search", text=text))
            items.append(number)
            gains.append(GAINS[str(label)])
    requests = np.array([query_nums[query.text] for query in queries], np.intp)
    totals = np.bincount(requests, gains)
    if not totals.all():
        text = list(query_nums)[int(np.flatnonzero(totals == 0)[0])]
        raise DataError(
            f"{table.path}: query {text!r} has no relevant product.", "Remove the query."
        )
    return RequestSet(queries, np.array(items, np.int32), requests, requests, np.array(gains))


def split_products(dataset: Dataset, folder: Path) -> BenchSplit:
    """Training on written queries, tests by judged ones."""
    catalogue, count = dataset.catalogue, dataset.num_items
    everything = np.arange(count, dtype=np.int32)
    shelves = Vocabulary(f"shelf {number}" for number in range(count))
    queries = write_queries(*draw_queries(catalogue, SYNTHETIC_QUERY_FIELDS, 0))
    train = Dataset(catalogue, shelves, _build_log(everything), queries=queries)
    texts, items = draw_queries(catalogue, SYNTHETIC_QUERY_FIELDS, 1)
    validation = [Query("search", text=text) for text in texts]
    return BenchSplit(
        train,
        catalogue,
        everything,
        {"search": read_judgements(folder, catalogue.vocabulary)},
        {"search": RequestSet.of(validation, items, range(len(items)))},
        np.zeros(count, np.bool_),
    )


def draw_queries(
    catalogue: Catalogue,
    fields: tuple[str, ...],
    seed: int,
    counts: IntArray | None = None,
    count: int | None = None,
) -> tuple[list[str], list[int]]:
    """Texts and items of queries written by rules, without empty ones.

    Args:
        catalogue: the items.
        fields: that queries are written from.
        seed: 0 for training, 1 for validation.
        counts: (N,) interactions of the items; None = none.
        count: of the queries; None = as many as products have.
    """
    counts = np.zeros(len(catalogue), np.int32) if counts is None else counts
    count = count or (NUM_TRAINING_QUERIES, NUM_VALIDATION_QUERIES)[seed]
    examples = zip(*write_examples(catalogue, counts, fields, seed, count), strict=True)
    pairs = [(text, int(item)) for text, item in examples if text.strip()]
    return [text for text, _ in pairs], [item for _, item in pairs]


def _build_log(items: IntArray) -> EventLog:
    """A log in which each item is chosen once, by a user of its own."""
    count = len(items)
    return EventLog(
        np.arange(count, dtype=np.int32),
        items,
        np.zeros(count),
        np.zeros(count, np.bool_),
        np.full(count, np.nan, np.float32),
    )
