"""What a query finds first says what else belongs to it, by vectors and by words."""

from __future__ import annotations

import numpy as np
import pytest

from serendip.models.relevance import feedback
from serendip.models.relevance.feedback import FOUND, RelevanceFeedback
from serendip.models.relevance.term_overlap import TermOverlap

AXES = np.eye(8, dtype=np.float32)


def world(count: int = 40) -> tuple[np.ndarray, TermOverlap]:
    """Half lamps around one axis, half rugs around another; none says what it is like."""
    random = np.random.default_rng(0)
    middle = np.repeat(AXES[:2], count // 2, axis=0)
    vectors = middle + 0.2 * random.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [{"lamp" if place < count // 2 else "rug", f"n{place}"} for place in range(count)]
    return np.stack([vectors, vectors]), TermOverlap.of(words, words)


def test_what_is_like_the_found_ones_has_their_words_and_lies_where_they_do() -> None:
    views, overlap = world()
    shelf = RelevanceFeedback.of(views)
    asked = np.array([1, 30], np.int32)
    found = shelf.columns(AXES[0], {"lamp"}, overlap, views, asked)
    assert found.shape == (2, len(FOUND) * 3 + 1)
    both, words = found[:, 0], found[:, 2]
    assert both[0] > both[1] + 0.3
    assert words[0] > words[1] == 0
    alone = shelf.columns(AXES[0], {"lamp"}, overlap, views, asked[1:])
    np.testing.assert_allclose(alone[0], found[1], atol=1e-6)


def test_words_find_what_the_vector_does_not() -> None:
    views, overlap = world()
    shelf = RelevanceFeedback.of(views)
    vague = (AXES[0] + AXES[1]) / np.sqrt(2)
    asked = np.array([1, 30], np.int32)
    lamp, rug = (
        shelf.columns(vague, {word}, overlap, views, asked)[:, 0] for word in ("lamp", "rug")
    )
    assert lamp[0] > lamp[1]
    assert rug[1] > rug[0]


def test_a_shelf_holds_so_many_items_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "SHELF", 10)
    views, overlap = world()
    shelf = RelevanceFeedback.of(views)
    assert (len(shelf.numbers), shelf.whole.shape) == (10, (10, 8))
    found = shelf.columns(AXES[0], {"lamp"}, overlap, views, np.array([39], np.int32))
    assert np.isfinite(found).all()
