"""ESCI: products with human relevance judgements of queries, without an event log.

``items.jsonl`` contains products, ``judgements.csv`` rows of ``query, item_id, label``: exact,
substitute, complement, irrelevant, with the gains of the paper. All products are ranked for every
query; unjudged products count as irrelevant, and ``judged@10`` is the share of judged products in
the top ten.

Neither labels nor judged queries are training data. The retriever is trained on synthetic queries
from the products' fields, and on a log in which each product is chosen once, by a user of its own,
so that all products are equally popular.

Paper: Reddy et al. 2022, "Shopping Queries Dataset" (arXiv:2206.06588).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.content.synthetic_queries import write_examples
from serendip.data import Catalogue, Dataset, EventLog, FloatArray, IntArray, Query, Vocabulary
from serendip.data.arrays import NO_ITEMS
from serendip.data.vocabulary import MISSING
from serendip.errors import DataError
from serendip.files.config import ItemsConfig
from serendip.files.items import read_items
from serendip.files.tables import open_table
from serendip.jobs.llm.judged_queries import GAINS
from serendip_bench.qrels import Relevance
from serendip_bench.query_vectors import collect_texts, with_vectors, without_vectors
from serendip_bench.splits import BenchSplit, RequestSet
from serendip_bench.unified.models import SEARCH_RANKERS, UnifiedModel
from serendip_bench.unified.tasks import UnifiedSplit

PRODUCTS_FILE, JUDGEMENTS_FILE = "items.jsonl", "judgements.csv"

SYNTHETIC_QUERY_FIELDS = ("title", "brand", "color", "category")
PRODUCT_FIELDS = (*SYNTHETIC_QUERY_FIELDS, "bullet_points", "description")
"""Fields that are encoded and searched."""

NUM_TRAINING_QUERIES, NUM_VALIDATION_QUERIES = 20_000, 1_000

_SEARCH = {
    "tasks": ("search",),
    "embedding_size": 128,
    "slots": 100,
    "batch_size": 128,
    "epochs": 8,
    "validation_share": 0.25,
}
"""A training row is one product with eight search requests. Without a log the weight of plain text
vectors is tuned on products whose query is hidden as well, hence the larger validation share."""

ESCI: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", ("search",), config=_SEARCH),
    "bm25": UnifiedModel("bm25", ("search",), "bm25"),
    "vectors": UnifiedModel("vectors", ("search",), "vectors"),
    "rrf": UnifiedModel("rrf", ("search",), "rrf"),
    "engine": UnifiedModel("engine", ("search",), "engine", of="unified"),
    **SEARCH_RANKERS,
}
"""There is no log that the engine's ranker could learn from, so its sources are fused by rank."""


def read_products(folder: Path) -> Dataset:
    """Read products in the order of their file; no users and no events.

    Raises:
        DataError: the file is missing or invalid.
    """
    attributes = tuple(name for name in PRODUCT_FIELDS if name not in ("title", "description"))
    config = ItemsConfig(path=PRODUCTS_FILE, list_separator="", attributes=attributes)
    return Dataset(Catalogue(read_items(config, folder)), Vocabulary([]), _build_log(NO_ITEMS))


def list_esci_queries(folder: Path) -> list[str]:
    """All query texts, for encoding."""
    return collect_texts(_build_split_without_vectors(folder))


def build_esci_split(folder: Path, words: FloatArray) -> UnifiedSplit:
    """The split with its requests; ``words`` (W, C) are vectors of ``list_esci_queries``."""
    return with_vectors(_build_split_without_vectors(folder), words)


def read_judgements(folder: Path, products: Vocabulary) -> RequestSet:
    """Read one row per judged product of the catalogue; every query is its own unit.

    Raises:
        DataError: a label is unknown, or a query has no product with a gain.
    """
    table = open_table(folder / JUDGEMENTS_FILE)
    rows = list(table.rows(("query", "item_id", "label")))
    queries, items, requests, gains = [], [], [], []
    query_nums: dict[str, int] = {}
    for line, (text, product, label) in enumerate(rows, start=2):
        if label not in GAINS:
            raise DataError(f"{table.path}:{line}: label {label!r}.", f"Known: {', '.join(GAINS)}.")
        number = int(products.numbers([product])[0])
        if number == MISSING:
            continue
        queries.append(Query("search", text=text))
        items.append(number)
        requests.append(query_nums.setdefault(text, len(query_nums)))
        gains.append(GAINS[str(label)])
    relevance = Relevance(np.array(requests, np.intp), np.array(requests, np.intp), np.array(gains))
    totals = np.bincount(relevance.requests, relevance.gains)
    if not totals.all():
        text = list(query_nums)[int(np.flatnonzero(totals == 0)[0])]
        raise DataError(
            f"{table.path}: query {text!r} has no relevant product.", "Remove the query."
        )
    return RequestSet(queries, np.array(items, np.int32), relevance)


def _build_split_without_vectors(folder: Path) -> UnifiedSplit:
    dataset = read_products(folder)
    catalogue, count = dataset.catalogue, dataset.num_items
    all_items = np.arange(count, dtype=np.int32)
    texts, items = _write_queries(catalogue, 0, NUM_TRAINING_QUERIES)
    train = Dataset(
        catalogue,
        Vocabulary(f"shelf {number}" for number in range(count)),
        _build_log(all_items),
        queries=without_vectors(texts, items),
    )
    requests = read_judgements(folder, catalogue.vocabulary)
    texts, items = _write_queries(catalogue, 1, NUM_VALIDATION_QUERIES)
    validation = RequestSet(
        [Query("search", text=text) for text in texts], np.array(items, np.int32)
    )
    sequences = BenchSplit(train, all_items, validation, requests, np.zeros(count, np.bool_))
    return UnifiedSplit(sequences, {"search": requests}, {"search": validation})


def _write_queries(catalogue: Catalogue, seed: int, count: int) -> tuple[list[str], list[int]]:
    counts = np.zeros(len(catalogue), np.int32)
    examples = zip(
        *write_examples(catalogue, counts, SYNTHETIC_QUERY_FIELDS, seed, count), strict=True
    )
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
