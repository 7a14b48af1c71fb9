import numpy as np

from serendip.models.relevance.features import FEEDBACK_DEPTHS, RelevanceFeedback
from serendip.models.relevance.term_overlap import TermOverlap

AXES = np.eye(8, dtype=np.float32)


def world(count: int = 40) -> tuple[np.ndarray, TermOverlap]:
    """Half lamps around one axis, half rugs around another."""
    random = np.random.default_rng(0)
    centroids = np.repeat(AXES[:2], count // 2, axis=0)
    vectors = centroids + 0.2 * random.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [{"lamp" if place < count // 2 else "rug", f"n{place}"} for place in range(count)]
    return np.stack([vectors, vectors]), TermOverlap.of(words, words)


def columns_of(
    found: RelevanceFeedback,
    query: np.ndarray,
    word: str,
    overlap: TermOverlap,
    numbers: np.ndarray,
) -> np.ndarray:
    listed = found.views[:, numbers], overlap.titles.take(numbers)
    return found.columns((query, {word}), overlap, *listed)


def test_items_similar_to_the_top_results_score_higher_by_vectors_and_words() -> None:
    views, overlap = world()
    feedback_items = RelevanceFeedback.of(views, overlap)
    numbers = np.array([1, 30], np.int32)
    columns = columns_of(feedback_items, AXES[0], "lamp", overlap, numbers)
    assert columns.shape == (2, len(FEEDBACK_DEPTHS) * 3 + 1)
    cosines, words = columns[:, 0], columns[:, 2]
    assert cosines[0] > cosines[1] + 0.3
    assert words[0] > words[1] == 0
    alone = columns_of(feedback_items, AXES[0], "lamp", overlap, numbers[1:])
    np.testing.assert_allclose(alone[0], columns[1], atol=1e-6)


def test_words_decide_where_the_vector_is_ambiguous() -> None:
    views, overlap = world()
    feedback_items = RelevanceFeedback.of(views, overlap)
    ambiguous = (AXES[0] + AXES[1]) / np.sqrt(2)
    numbers = np.array([1, 30], np.int32)
    lamp, rug = (
        columns_of(feedback_items, ambiguous, word, overlap, numbers)[:, 0]
        for word in ("lamp", "rug")
    )
    assert lamp[0] > lamp[1]
    assert rug[1] > rug[0]
