"""Searches with words that were learned: weights of their own, chosen by such searches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.dataset import AlignedProjection, Dataset, QueryExamples
from serendip.data.query import History, Query
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.packed_rows import pack_rows
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_scores import ContentScores, TrainedQueries, text_keys
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world, draw_unit_vectors


def projection() -> AlignedProjection:
    random = np.random.default_rng(0)
    down, up = random.normal(size=(2, 16, 4)).astype(np.float32)
    return AlignedProjection(down, np.ascontiguousarray(up.T))


ROWS = AlignedRows.of(projection(), pack_rows(draw_unit_vectors(np.random.default_rng(1), 4)))
VECTORS = np.stack([np.asarray(ROWS), np.asarray(ROWS.content)])


def affinity() -> ContentScores:
    """Weights 3 of the context and 2 of words; 5 and 7 of words that were learned."""
    known = TrainedQueries.of(["red shoes", "Hats"], np.array([5, 7], np.float32))
    weights = np.tile(np.array([3, 2], np.float32), (3, 1))
    return ContentScores(ROWS, weights, known=known)


def asked(text: str, surface: str = "search") -> Query:
    history = History.of_items(np.asarray([1]))
    vector = VECTORS[1, 0] if text else None
    return Query(surface, text=text, text_vector=vector, history=history)


@pytest.mark.parametrize(
    ("query", "context", "words"),
    [
        (asked("red shoes"), 5, 7),
        (asked("  Réd  SHOES!"), 5, 7),
        (asked("red shoe"), 3, 2),
        (asked(""), 3, 0),
        (asked("red shoes", "home"), 3, 2),
        (replace(asked("x"), text=""), 3, 2),
    ],
)
def test_words_that_were_learned_have_weights_of_their_own(
    query: Query, context: float, words: float
) -> None:
    expected = np.concatenate([context * VECTORS[0, 1], words * VECTORS[1, 0]])
    both = affinity().of_queries([asked("green hats"), query])
    np.testing.assert_allclose(both[1], expected, rtol=1e-5, atol=1e-6)
    scores = affinity().scores_of_all(affinity().of_queries([query]))
    np.testing.assert_allclose(
        scores[0], expected @ affinity().vectors_of(slice(None)).T, rtol=0, atol=1e-5
    )


def test_keys_tell_texts_apart_by_their_words_alone() -> None:
    keys = text_keys(["Café crème", "cafe   creme!", "cafe", "", "!!!"])
    assert keys[0] == keys[1] != keys[2]
    known = TrainedQueries.of(["", "cafe", "$$"], np.zeros(2, np.float32))
    assert known.know(["", "CAFE", "tea", "$$", "???"]).tolist() == [False, True] + [False] * 3
    assert text_keys([]).shape == (0,)


def coded_world() -> Dataset:
    """Queries in a secret language: content says nothing of what they mean, the log says all."""
    world = build_small_world()
    count = world.num_items
    texts = [f"secret {item % 8}" for item in range(count)]
    secrets = draw_unit_vectors(np.random.default_rng(3), 8)
    vectors = secrets[np.arange(count) % 8]
    queries = QueryExamples(texts, vectors, np.arange(count, dtype=np.int32))
    return world.with_queries(queries).with_alignment(projection())


def test_content_counts_less_for_words_that_the_network_knows(tmp_path: Path) -> None:
    config = RetrieverConfig(
        embedding_size=8, search_size=0, epochs=12, max_len=10, batch_size=32, validation_share=0.3
    )
    model = Retriever(config).train(coded_world(), TrainOptions(seed=1))
    model.save(tmp_path)
    for one in (model, Retriever.open(tmp_path)):
        now = one._trained.affinity
        assert now is not None and now.known is not None
        assert now.known.weights[1] < now.weights[2, 1]
        learned = now.known.know([f"secret {number}" for number in range(8)])
        assert learned.sum() == 6, "three in ten of the eight texts are hidden"
