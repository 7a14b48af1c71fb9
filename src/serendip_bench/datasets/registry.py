"""Which kind of data a folder holds, told by its files, and how that kind is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.runtime.atomic_files import hash_files
from serendip_bench.datasets.esci import (
    ESCI,
    JUDGEMENTS_FILE,
    PRODUCT_FIELDS,
    PRODUCTS_FILE,
    esci_texts,
    esci_trial,
    read_products,
)
from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    FILMS_FILE,
    RATINGS_FILE,
    REQUESTS_FILE,
    TAGS_FILE,
    movielens_facts,
    movielens_texts,
    movielens_trial,
    read_movielens,
    search_sets,
)
from serendip_bench.datasets.retail import (
    HOME_SETS,
    PRODUCT_NAME,
    RETAIL,
    RETAIL_FILE,
    read_retail,
    retail_facts,
    retail_trial,
)
from serendip_bench.datasets.sequences import (
    ITEMS_FILE,
    SEQUENCES_FILE,
    TEXT_FIELDS,
    read_sequences,
)
from serendip_bench.unified.models import UNIFIED, UnifiedModel
from serendip_bench.unified.tasks import QUERY_FIELDS, UnifiedSplit, build_unified_split


@dataclass(frozen=True, slots=True)
class BenchDataset:
    """A kind of data folder, as ``bench unified`` reads it.

    Args:
        files: what the folder holds; a folder with all of them is of this kind.
        fields: of an item that are encoded.
        read: folder -> items in their order, and events.
        texts: folder -> words of queries that are to be encoded.
        trial: folder, vectors of these words -> what is learned from and asked.
        sets: folder -> task -> names of its sets of requests, where they are named.
        table: what can be run.
        split: the protocol in words; empty = that of sequences.
        logs_searches: whether people chose what validates search. Where somebody wrote queries for
            items instead, the engine does not order search by what its ranker learned from them.
        facts: folder -> further counts for the results file.
        beside: files beside the folder that are read, too.
    """

    files: tuple[str, ...]
    fields: tuple[str, ...]
    read: Callable[[Path], Dataset]
    texts: Callable[[Path], list[str]]
    trial: Callable[[Path, FloatArray], UnifiedSplit]
    sets: Callable[[Path], Mapping[str, tuple[str, ...]]]
    table: Mapping[str, UnifiedModel] = field(default_factory=lambda: UNIFIED)
    split: str = ""
    logs_searches: bool = True
    facts: Callable[[Path], Mapping[str, Any]] = lambda folder: {}
    beside: tuple[Path, ...] = ()

    def digest(self, folder: Path) -> str:
        """Changes whenever a byte of the files does."""
        near = [folder.resolve().parent / name for name in self.beside]
        own = [folder / name for name in self.files]
        return hash_files([*own, *(path for path in near if path.exists())])


def dataset_of(folder: Path) -> BenchDataset:
    """The kind of a folder; sequences where it is none of the others."""
    for form in (MOVIELENS, PRODUCTS, RETAIL_SHOP):
        if all((folder / name).exists() for name in form.files):
            return form
    return SEQUENCES


def _category_words(folder: Path) -> list[str]:
    return read_sequences(folder).catalogue.texts(QUERY_FIELDS)


def _sequences_trial(folder: Path, words: FloatArray) -> UnifiedSplit:
    return build_unified_split(read_sequences(folder), words)


SEQUENCES = BenchDataset(
    files=(SEQUENCES_FILE, ITEMS_FILE),
    fields=TEXT_FIELDS,
    read=read_sequences,
    texts=_category_words,
    trial=_sequences_trial,
    sets=lambda folder: {},
)

MOVIELENS = BenchDataset(
    files=(FILMS_FILE, RATINGS_FILE, TAGS_FILE),
    fields=FILM_FIELDS,
    logs_searches=False,
    read=read_movielens,
    texts=movielens_texts,
    trial=movielens_trial,
    sets=lambda folder: {"search": tuple(search_sets(folder))},
    split=(
        "In time: everything is fitted on the oldest 70 % of the ratings (training stops by the "
        "newest 5 % of these), the next 10 % choose the split into models, the newest 20 % are "
        "asked for. home: every rating, from what its user had rated strictly before; at most the "
        "first 100 of a user after the first cut. similar: a film that a user liked asks, alone, "
        "for the film that the user liked next. search: tags ask for the films that they were "
        "written on (tags), sentences of conversations for the films that were suggested next "
        "(redial); neither is in any text or training, whose queries are written from titles, "
        "years, genres, directors and casts, as are other ones that validate. All films are "
        "ranked; those rated before are left out of home, the film asked about of similar. "
        "Several films of a query are judged together; means per user, tag or conversation, then "
        "over these, which are what intervals draw."
    ),
    facts=movielens_facts,
    beside=(REQUESTS_FILE,),
)

PRODUCTS = BenchDataset(
    files=(PRODUCTS_FILE, JUDGEMENTS_FILE),
    fields=PRODUCT_FIELDS,
    read=read_products,
    texts=esci_texts,
    trial=esci_trial,
    sets=lambda folder: {},
    table=ESCI,
    logs_searches=False,
    split=(
        "Nobody has chosen anything: all products are ranked for queries whose products people "
        "have judged as exact (gain 1), substitute (.1), complement (.01) or irrelevant (0). N@10 "
        "is the graded nDCG@10 and R@k the share of the products with a gain; what nobody judged "
        "counts 0, and judged@10 is the share of the first ten that somebody judged. No label and "
        "no judged query is learned from: queries of training are written from titles, brands, "
        "colours and categories, as are other ones that validate. Means over queries, which are "
        "what intervals draw."
    ),
)

RETAIL_SHOP = BenchDataset(
    files=(RETAIL_FILE,),
    fields=PRODUCT_NAME,
    read=read_retail,
    texts=lambda folder: [],
    trial=retail_trial,
    sets=lambda folder: {"home": HOME_SETS},
    table=RETAIL,
    split=(
        "In time: everything is fitted on the oldest 70 % of the events (training stops by the "
        "newest 5 % of these), the next 10 % choose the split into models, the newest 20 % are "
        "asked for. An event is a product in a basket of a customer; cancellations and whatever is "
        "no product are left out. home: every first purchase of a product by a customer, from the "
        "baskets strictly before and the customer's country (that of the first invoice); at most "
        "the first 100 of a customer. abroad: those from outside of the largest country; "
        "newcomers: those without a basket before. similar: a product asks, alone, for the one "
        "that the customer bought next. All products are ranked; those bought before are left out "
        "of home, the product asked about of similar. Means per customer, then over customers, "
        "which are what intervals draw. changed@10 counts requests whose first ten are others, or "
        "in another order, when the country is named."
    ),
    facts=retail_facts,
)
