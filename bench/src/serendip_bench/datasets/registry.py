"""Registry of data sets: the kind of a folder is detected by its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serendip.data import Dataset, FloatArray
from serendip.runtime.atomic_files import hash_files
from serendip_bench.datasets.esci import (
    ESCI,
    JUDGEMENTS_FILE,
    PRODUCT_FIELDS,
    PRODUCTS_FILE,
    build_esci_split,
    list_esci_queries,
    read_products,
)
from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    FILMS_FILE,
    RATINGS_FILE,
    REQUESTS_FILE,
    TAGS_FILE,
    build_movielens_split,
    count_movielens_queries,
    list_movielens_queries,
    read_movielens,
    read_search_sets,
)
from serendip_bench.datasets.retail import (
    HOME_SETS,
    PRODUCT_NAME,
    RETAIL,
    RETAIL_FILE,
    build_retail_split,
    count_customers,
    read_retail,
)
from serendip_bench.datasets.sequences import (
    ITEMS_FILE,
    SEQUENCES_FILE,
    TEXT_FIELDS,
    read_sequences,
)
from serendip_bench.unified.models import SEARCH_RANKERS, UNIFIED, WITHOUT_QUERIES, UnifiedModel
from serendip_bench.unified.tasks import QUERY_FIELDS, UnifiedSplit, build_unified_split


@dataclass(frozen=True, slots=True)
class BenchDataset:
    """A kind of data folder, as ``bench unified`` reads it.

    Args:
        files: that identify a folder of this kind.
        fields: of an item that are encoded.
        read: folder -> items in the order of their file, and events.
        texts: folder -> query texts to encode.
        trial: folder, vectors of the texts -> split.
        sets: folder -> task -> names of its request sets, if any.
        table: lines of ``bench unified``.
        split: description of the protocol; empty = leave the last two out.
        logs_searches: True if validation targets of search were chosen by users. If validation
            queries are synthetic, the engine does not order search by its ranker.
        facts: folder -> further counts for the results file.
        beside: further files, relative to the parent of the folder.
    """

    files: tuple[str, ...]
    fields: tuple[str, ...]
    read: Callable[[Path], Dataset]
    texts: Callable[[Path], list[str]]
    build_split: Callable[[Path, FloatArray], UnifiedSplit]
    sets: Callable[[Path], Mapping[str, tuple[str, ...]]]
    table: Mapping[str, UnifiedModel] = field(default_factory=lambda: UNIFIED)
    split: str = ""
    logs_searches: bool = True
    facts: Callable[[Path], Mapping[str, Any]] = lambda folder: {}
    beside: tuple[Path, ...] = ()

    def digest(self, folder: Path) -> str:
        """Hash of the contents of all files."""
        neighbours = [folder.resolve().parent / name for name in self.beside]
        paths = [folder / name for name in self.files]
        return hash_files([*paths, *(path for path in neighbours if path.exists())])


def detect_dataset(folder: Path) -> BenchDataset:
    """The kind of a folder; sequences if no other kind matches."""
    for dataset in (MOVIELENS, PRODUCTS, RETAIL_SHOP):
        if all((folder / name).exists() for name in dataset.files):
            return dataset
    return SEQUENCES


def _read_category_queries(folder: Path) -> list[str]:
    return read_sequences(folder).catalogue.texts(QUERY_FIELDS)


def _build_sequences_split(folder: Path, words: FloatArray) -> UnifiedSplit:
    return build_unified_split(read_sequences(folder), words)


SEQUENCES = BenchDataset(
    files=(SEQUENCES_FILE, ITEMS_FILE),
    fields=TEXT_FIELDS,
    read=read_sequences,
    texts=_read_category_queries,
    build_split=_build_sequences_split,
    sets=lambda folder: {},
)

MOVIELENS = BenchDataset(
    files=(FILMS_FILE, RATINGS_FILE, TAGS_FILE),
    fields=FILM_FIELDS,
    table={**UNIFIED, **SEARCH_RANKERS, **WITHOUT_QUERIES},
    logs_searches=False,
    read=read_movielens,
    texts=list_movielens_queries,
    build_split=build_movielens_split,
    sets=lambda folder: {"search": tuple(read_search_sets(folder))},
    split=(
        "Temporal: models are trained on the oldest 70 % of the ratings (early stopping on the "
        "newest 5 % of these), the next 10 % validate the split of tasks into models, the newest "
        "20 % are the test. home: the target is a rated film, the history what its user rated "
        "strictly before; up to 100 per user after the first cut. similar: the source is a film "
        "that a user liked, the target the film that the user liked next. search: queries are tags "
        "with the tagged films as targets (tags), and sentences of conversations with the films "
        "that were suggested next (redial); neither occurs in item texts or training. Training and "
        "validation queries are synthetic, from titles, years, genres, directors and casts. All "
        "films are ranked; home excludes films rated before, similar excludes the source. Metrics "
        "cover all targets of a query; means per user, tag or conversation, then over these, which "
        "the bootstrap resamples."
    ),
    facts=count_movielens_queries,
    beside=(REQUESTS_FILE,),
)

PRODUCTS = BenchDataset(
    files=(PRODUCTS_FILE, JUDGEMENTS_FILE),
    fields=PRODUCT_FIELDS,
    read=read_products,
    texts=list_esci_queries,
    build_split=build_esci_split,
    sets=lambda folder: {},
    table=ESCI,
    logs_searches=False,
    split=(
        "No events: all products are ranked for queries with human judgements of products as exact "
        "(gain 1), substitute (.1), complement (.01) or irrelevant (0). N@10 is the graded nDCG@10 "
        "and R@k the recall of products with a gain; unjudged products have gain 0, and judged@10 "
        "is the share of judged products in the top ten. Labels and judged queries are not "
        "training data: training and validation queries are synthetic, from titles, brands, "
        "colours and categories. Means over queries, which the bootstrap resamples."
    ),
)

RETAIL_SHOP = BenchDataset(
    files=(RETAIL_FILE,),
    fields=PRODUCT_NAME,
    read=read_retail,
    texts=lambda folder: [],
    build_split=build_retail_split,
    sets=lambda folder: {"home": HOME_SETS},
    table=RETAIL,
    split=(
        "Temporal: models are trained on the oldest 70 % of the events (early stopping on the "
        "newest 5 % of these), the next 10 % validate the split of tasks into models, the newest "
        "20 % are the test. An event is a product in a basket of a customer; cancellations and "
        "rows that are not a product are dropped. home: the target is a customer's first purchase "
        "of a product, the input the baskets strictly before and the customer's country (that of "
        "the first invoice); up to 100 per customer. abroad: home requests from outside the "
        "largest country; newcomers: those of customers without an earlier basket. similar: the "
        "source is a product, the target the product that the customer bought next. All products "
        "are ranked; home excludes products bought before, similar excludes the source. Means per "
        "customer, then over customers, which the bootstrap resamples. changed@10 counts requests "
        "whose top ten changes if the country is given."
    ),
    facts=count_customers,
)
