"""Products and people's judgements of what they are to a query; nobody has chosen anything.

``items.jsonl`` holds products, ``judgements.csv`` rows of ``query, item_id, label``: exact,
substitute, complement, irrelevant, whose gains are those of the data's paper. All products are
ranked for every query; what nobody judged counts as irrelevant, and ``judged@10`` says how much of
the first ten somebody did judge.

Labels are never learned from, and neither are the judged queries. There is no log, so the
retriever learns from queries that are written from the products' fields, in a log in which
somebody else took each product once: every product is as popular as any other.

Paper: Reddy et al. 2022, "Shopping Queries Dataset" (arXiv:2206.06588).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.content.synthetic_queries import write_examples
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.dataset import Dataset, EventLog
from serendip.data.files.readers import ItemsConfig, read_items
from serendip.data.files.tables import open_table
from serendip.data.item import Catalogue
from serendip.data.query import Query
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError
from serendip.jobs.enrich.judged_queries import GAINS
from serendip_bench.qrels import Relevance
from serendip_bench.query_vectors import collect_texts, with_vectors, without_vectors
from serendip_bench.splits import BenchSplit, RequestSet
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.tasks import UnifiedSplit

PRODUCTS_FILE, JUDGEMENTS_FILE = "items.jsonl", "judgements.csv"

WRITTEN_FIELDS = ("title", "brand", "color", "category")
PRODUCT_FIELDS = (*WRITTEN_FIELDS, "bullet_points", "description")
"""What is encoded, and what words are searched in."""

NUM_WRITTEN, NUM_VALIDATED = 20_000, 1_000

_SEARCH = {
    "tasks": ("search",),
    "embedding_size": 128,
    "slots": 100,
    "batch_size": 128,
    "epochs": 8,
    "validation_share": 0.25,
}
"""A row is one product that was taken once, with eight requests of search. Without a log the plain
words are weighed by products whose query is hidden, too: a share of a share."""

ESCI: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", ("search",), config=_SEARCH),
    "bm25": UnifiedModel("bm25", ("search",), "bm25"),
    "vectors": UnifiedModel("vectors", ("search",), "vectors"),
    "rrf": UnifiedModel("rrf", ("search",), "rrf"),
    "engine": UnifiedModel("engine", ("search",), "engine", of="unified"),
}
"""The engine's ranker has nothing to learn from here, so its sources are fused by rank."""


def read_products(folder: Path) -> Dataset:
    """Products in the order of their file; no users and no events.

    Raises:
        DataError: the file is missing or broken.
    """
    attributes = tuple(name for name in PRODUCT_FIELDS if name not in ("title", "description"))
    config = ItemsConfig(path=PRODUCTS_FILE, list_separator="", attributes=attributes)
    return Dataset(Catalogue(read_items(config, folder)), Vocabulary([]), _log(NO_ITEMS))


def esci_texts(folder: Path) -> list[str]:
    """All texts of queries, to be encoded."""
    return collect_texts(_unworded(folder))


def esci_trial(folder: Path, words: FloatArray) -> UnifiedSplit:
    """What is learned from and asked; ``words`` (W, C) are vectors of ``esci_texts``."""
    return with_vectors(_unworded(folder), words)


def read_judgements(folder: Path, products: Vocabulary) -> RequestSet:
    """A row per judged product that is known; every query is a unit of its own.

    Raises:
        DataError: a label is unknown, or a query has no product with a gain.
    """
    table = open_table(folder / JUDGEMENTS_FILE)
    rows = list(table.rows(("query", "item_id", "label")))
    queries, items, requests, gains = [], [], [], []
    names: dict[str, int] = {}
    for line, (text, product, label) in enumerate(rows, start=2):
        if label not in GAINS:
            raise DataError(f"{table.path}:{line}: label {label!r}.", f"Known: {', '.join(GAINS)}.")
        number = int(products.numbers([str(product)])[0])
        if number == MISSING:
            continue
        queries.append(Query("search", text=str(text)))
        items.append(number)
        requests.append(names.setdefault(str(text), len(names)))
        gains.append(GAINS[str(label)])
    found = Relevance(np.array(requests, np.intp), np.array(requests, np.intp), np.array(gains))
    totals = np.bincount(found.requests, found.gains)
    if not totals.all():
        text = list(names)[int(np.flatnonzero(totals == 0)[0])]
        raise DataError(f"{table.path}: query {text!r} has no relevant product.", "Leave it out.")
    return RequestSet(queries, np.array(items, np.int32), found)


def _unworded(folder: Path) -> UnifiedSplit:
    dataset = read_products(folder)
    catalogue, count = dataset.catalogue, dataset.num_items
    everything = np.arange(count, dtype=np.int32)
    texts, items = _written(catalogue, 0, NUM_WRITTEN)
    train = Dataset(
        catalogue,
        Vocabulary(f"shelf {number}" for number in range(count)),
        _log(everything),
        queries=without_vectors(texts, items),
    )
    asked = read_judgements(folder, catalogue.vocabulary)
    texts, items = _written(catalogue, 1, NUM_VALIDATED)
    written = RequestSet([Query("search", text=text) for text in texts], np.array(items, np.int32))
    trial = BenchSplit(train, everything, written, asked, np.zeros(count, np.bool_))
    return UnifiedSplit(trial, {"search": asked}, {"search": written})


def _written(catalogue: Catalogue, seed: int, count: int) -> tuple[list[str], list[int]]:
    nobody = np.zeros(len(catalogue), np.int32)
    found = zip(*write_examples(catalogue, nobody, WRITTEN_FIELDS, seed, count), strict=True)
    pairs = [(text, int(item)) for text, item in found if text.strip()]
    return [text for text, _ in pairs], [item for _, item in pairs]


def _log(items: IntArray) -> EventLog:
    """Each item once, by a user of its own; none for no items."""
    count = len(items)
    return EventLog(
        np.arange(count, dtype=np.int32),
        items,
        np.zeros(count),
        np.zeros(count, np.bool_),
        np.full(count, np.nan, np.float32),
    )
