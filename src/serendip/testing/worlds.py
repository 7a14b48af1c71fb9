"""Small seeded worlds: a dataset, features of items and queries that train a model in a second."""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, EventLog, QueryExamples
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.query import Query
from serendip.data.vocabulary import Vocabulary

NUM_CODES = 4
"""Codes per level of the semantic IDs, which have two levels."""

VECTOR_SIZE = 16
"""D of all content and query vectors."""


def build_small_world(
    num_items: int = 30, num_users: int = 12, num_events: int = 240, seed: int = 3
) -> Dataset:
    """Build a dataset with features and 20 query examples; the last two items have no events.

    Items are ``i0``, ``i1``, ... and the earlier ones are chosen more often; users are ``u0``,
    ``u1``, ...; events lie between the times 0 and 1e6.
    """
    rng = np.random.default_rng(seed)
    items = [Item(f"i{number}", f"Thing number {number}") for number in range(num_items)]
    num_chosen = max(num_items - 2, 1)
    log = EventLog(
        rng.integers(0, num_users, num_events).astype(np.int32),
        (rng.random(num_events) ** 2 * num_chosen).astype(np.int32),
        np.sort(rng.uniform(0.0, 1e6, num_events)),
        rng.random(num_events) < 0.5,
        np.full(num_events, np.nan, dtype=np.float32),
    )
    targets = rng.integers(0, num_items, 20).astype(np.int32)
    texts = [items[number].title for number in targets]
    users = Vocabulary(f"u{number}" for number in range(num_users))
    return Dataset(
        Catalogue(items),
        users,
        log,
        draw_features(seed, num_items),
        QueryExamples(texts, draw_unit_vectors(rng, len(targets)), targets),
    )


def build_queries(dataset: Dataset, count: int = 6) -> list[Query]:
    """Build home queries of the first users, one with source items, one of a new visitor."""
    users = [
        Query(user_id=dataset.users.id(user), history=dataset.history(user), time=2e6)
        for user in range(min(count, dataset.num_users))
    ]
    source = np.asarray([0, dataset.num_items - 1], dtype=np.int32)
    similar = Query(task="similar", source_items=np.unique(source), time=2e6)
    return [*users, similar, Query(time=2e6)]


def draw_features(seed: int, count: int) -> ItemFeatures:
    """Draw content vectors, semantic IDs and words of ``count`` items."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, NUM_CODES, (count, 2)).astype(np.int32)
    tokens = Tokens.of_texts(f"thing {seed} {number}" for number in range(count))
    return ItemFeatures(draw_unit_vectors(rng, count), codes, NUM_CODES, tokens=tokens)


def draw_unit_vectors(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw random unit vectors (count, VECTOR_SIZE)."""
    normal: FloatArray = rng.normal(size=(count, VECTOR_SIZE)).astype(np.float32)
    vectors: FloatArray = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return vectors
