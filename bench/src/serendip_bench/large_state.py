"""A workspace with a generation of any size and no training: random vectors, graphs and counts.

Its speed and memory are those of a trained generation with the same settings; its answers mean
nothing. Graphs have as many entries per item as those of a shop with 1,000,000 items and 10,000,000
events (``docs/results/scale.md``). Only the context encoder of the retriever is trained, on a few
items, because a request runs it.

Shapes: N items, C content size, E size of the retriever's vectors, K codes per level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.dataset import AlignedProjection, Dataset, EventLog, QueryExamples
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import Codebooks, CodeCells
from serendip.data.numeric import unit
from serendip.data.query import RETRIEVAL_TASKS
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.row_array import pack_rows
from serendip.data.store.store import Store
from serendip.data.vocabulary import Vocabulary
from serendip.engine.artefacts.generations import publish
from serendip.engine.state import EngineState
from serendip.engine.state_parts import (
    CONTENT,
    WORDS,
    CatalogueContent,
    save_content,
    save_models,
    save_ranker,
    save_relevance,
    save_suggestions,
)
from serendip.engine.workspace import Workspace
from serendip.models.base import Recommender
from serendip.models.content_similarity import ContentSimilarity, TermWeights
from serendip.models.item_to_item import ItemKNN, Transitions
from serendip.models.linalg import to_csr
from serendip.models.popularity import Popularity, PopularityConfig, Window
from serendip.models.query_scores import PriorOrder
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_scores import ContentScores
from serendip.models.retriever.item_encoder import ItemEncoderArrays
from serendip.models.retriever.model import Retriever
from serendip.models.sparse.packed_sparse import LateSparse, PackedSparse
from serendip.runtime.versions import Version
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher

CONTENT_SIZE = 512
"""Size of the vectors of the default text encoder."""

_NEIGHBOURS = 121
"""Entries of item-kNN per item."""

_CODES = 256
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_FACTS = {"item_version": 0, "event_seq": 0, "event_removals": 0, "counts": {}}
_SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
fields = ["title", "department"]
"""


def write_workspace(folder: Path, num_items: int, seed: int = 0) -> Version:
    """Write a workspace with one published generation of ``num_items`` and an empty store."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serendip.toml").write_text(_SETTINGS, encoding="utf-8")
    workspace = Workspace.open(folder)
    Store.create(workspace.database).close()
    state = build_state(num_items, folder / "words", seed)
    return publish(workspace.generations, partial(save_state, state), _FACTS)


def save_state(state: EngineState, folder: Path) -> None:
    """Write all parts of a state into the folder of a generation."""
    (folder / CONTENT).mkdir()
    content = {own.name: getattr(state, own.name) for own in fields(CatalogueContent)}
    save_content(state.catalogue, CatalogueContent(**content), folder)
    save_ranker(state.ranker, folder)
    searcher = state.searcher
    indexed = searcher.lexical.fields, searcher.searches
    Searcher.build(state.catalogue, state.counts, folder / WORDS, *indexed)
    save_models(state, folder)
    save_suggestions(state.queries, state.query_ranker, searcher.rewrites, folder)
    save_relevance({}, (), {}, None, folder)


def build_state(num_items: int, scratch: Path, seed: int = 0) -> EngineState:
    """Build a state of ``num_items``; ``scratch`` is a folder for its first word index."""
    rng = np.random.default_rng(seed)
    catalogue = Catalogue(shop_items(num_items, seed))
    centroids = (rng.normal(size=(3, _CODES, CONTENT_SIZE)) / CONTENT_SIZE**0.5).astype(np.float32)
    codebooks = Codebooks(centroids)
    codes = rng.integers(0, _CODES, (num_items, 3)).astype(np.int32)
    content = np.empty((num_items, CONTENT_SIZE), np.float32)
    for begin in range(0, num_items, 65_536):
        block = codes[begin : begin + 65_536]
        means = centroids[0][block[:, 0]] + 0.6 * centroids[1][block[:, 1]]
        noise = rng.standard_normal(means.shape, np.float32) / np.float32(2 * CONTENT_SIZE**0.5)
        content[begin : begin + 65_536] = unit(means + noise)
    features = ItemFeatures(pack_rows(content), codes, _CODES)
    del content
    counts = np.minimum(rng.zipf(1.6, num_items), 100_000).astype(np.int32)
    # The word index of the catalogue is built when the state is saved.
    searcher = Searcher.build(Catalogue(()), counts[:0], scratch)
    return EngineState(
        catalogue=catalogue,
        features=features,
        codebooks=codebooks,
        models=_models(features, counts, rng),
        ranker=None,
        searcher=replace(searcher, values=ValueTable.of(catalogue)),
        counts=counts,
        quality=rng.random(num_items, np.float32),
        hidden=np.zeros(num_items, np.bool_),
        cells=CodeCells.of(codes, codebooks),
        mean_quality=0.5,
        code_names={},
        variants=np.arange(num_items, dtype=np.int32),
        reception=Reception.none(num_items),
    )


def shop_items(count: int, seed: int, prefix: str = "sku") -> Iterator[Item]:
    """Items with a title of five words, a department and a price."""
    rng = np.random.default_rng(seed)
    words = np.array(["".join(parts) for parts in rng.choice(_SYLLABLES, (8_000, 3))])
    for number in range(count):
        brand, adjective, own, noun = words[rng.integers(0, (2_000, 400, 6_000, 500))].tolist()
        title = f"{brand} {adjective} {own} {noun} {rng.integers(1, 10_000)}"
        price = float(np.round(np.exp(rng.normal(3, 1)), 2))
        yield Item(f"{prefix}-{number:08d}", title, "", {"department": noun, "price": price})


def _models(
    features: ItemFeatures, counts: IntArray, rng: np.random.Generator
) -> dict[str, Recommender]:
    num_items = len(features)
    popular, recent = Popularity(), Popularity(PopularityConfig(window_days=7.0))
    for prior, interactions in ((popular, counts), (recent, counts // 9)):
        prior._order = PriorOrder(np.log1p(interactions).astype(np.float32))
        prior._prior = np.zeros(num_items, np.float32)
        prior._window = Window.of(np.empty(0), NO_ITEMS, prior.window_s, num_items)
    neighbours, content, transitions = ItemKNN(), ContentSimilarity(), Transitions()
    neighbours._similarities = _random_graph(num_items, _NEIGHBOURS, rng)
    content._content, content.floor = features.content, 0.0
    content._mean = np.zeros(features.content.shape[1], np.float32)
    content._norms = np.ones(len(features.content), np.float32)
    content._weights = TermWeights.fit(features.known_tokens)
    rows = content._weights.build_rows(features.known_tokens)
    content._terms = LateSparse.of(rows)
    near = _random_graph(num_items, content.config.num_neighbours, rng)
    content._neighbours = LateSparse.of(near)
    transitions._similarities = _random_graph(num_items, transitions.config.max_targets, rng)
    models: dict[str, Recommender] = {
        "popularity": popular,
        "popularity-recent": recent,
        "item-knn": neighbours,
        "transitions": transitions,
        "content": content,
        "retriever": _retriever(features, rng),
    }
    for model in models.values():
        model._num_items = num_items
    return models


def _random_graph(num_items: int, degree: int, rng: np.random.Generator) -> PackedSparse:
    """``degree`` random weights per row (N, N)."""
    columns = rng.integers(0, num_items, num_items * degree, np.int32)
    values = rng.random(num_items * degree, np.float32)
    starts = np.arange(num_items + 1, dtype=np.int32) * degree
    return PackedSparse.of(to_csr((values, columns, starts), (num_items, num_items)))


def _small_dataset(features: ItemFeatures, rng: np.random.Generator) -> Dataset:
    """A random log of the first items: a context encoder has the same size for any catalogue."""
    num_items, num_events = min(len(features), 64), 400
    events = EventLog(
        rng.integers(0, 40, num_events).astype(np.int32),
        rng.integers(0, num_items, num_events).astype(np.int32),
        np.arange(num_events, dtype=np.float64),
        np.zeros(num_events, np.bool_),
        np.full(num_events, np.nan, np.float32),
    )
    catalogue = Catalogue(shop_items(num_items, seed=0))
    users = Vocabulary(f"u{number}" for number in range(40))
    numbers = np.arange(num_items, dtype=np.int32)
    titles = [item.title for item in catalogue]
    queries = QueryExamples(titles, np.asarray(features.content[numbers]), numbers)
    return Dataset(catalogue, users, events, features=features.rows(numbers), queries=queries)


def _retriever(features: ItemFeatures, rng: np.random.Generator) -> Retriever:
    config = RetrieverConfig(epochs=1)
    retriever = Retriever(config).train(_small_dataset(features, rng))
    num_items, size = len(features), config.embedding_size + config.search_size
    down = (rng.normal(size=(CONTENT_SIZE, 32)) / CONTENT_SIZE**0.5).astype(np.float32)
    alignment = AlignedProjection(down, 0.3 * down.T.copy())
    aligned = AlignedRows.of(alignment, features.content)

    def random_rows(*shape: int) -> FloatArray:
        return rng.standard_normal(shape, np.float32)

    tower = ItemEncoderArrays(
        0.05 * random_rows(size, CONTENT_SIZE),
        random_rows(size),
        0.1 * random_rows(3, _CODES, size),
        pack_rows(random_rows(num_items, size)),
        cast("FloatArray", aligned),
        alignment=alignment,
        search_size=config.search_size,
        donors=np.ones(num_items, np.bool_),
    )
    weights = np.full((len(RETRIEVAL_TASKS), 2), 0.5, np.float32)
    retriever._trained = replace(
        retriever._trained,
        item_vectors=pack_rows(random_rows(num_items, size)),
        projected=pack_rows(random_rows(num_items, size)),
        tower=tower,
        bonus=np.zeros(num_items, np.float32),
        affinity=ContentScores(aligned, weights),
    )
    retriever._codes = features.codes
    return retriever
