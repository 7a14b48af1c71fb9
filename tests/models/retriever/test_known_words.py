from dataclasses import replace

import numpy as np
import pytest

from serendip.data.dataset import AlignedProjection
from serendip.data.query import History, Query
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.row_array import pack_rows
from serendip.models.retriever.content_scores import ContentScores, TrainedQueries, text_keys
from serendip.testing import draw_unit_vectors


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
