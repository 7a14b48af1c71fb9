import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.content.fusion import Fusion
from serendip.data.arrays import FloatArray
from serendip.data.items.features import ModalityVectors
from serendip.errors import DataError


def unit_rows(rng: np.random.Generator, count: int, size: int, offset: float = 0.0) -> FloatArray:
    rows = rng.normal(size=(count, size)) * np.geomspace(3, 0.1, size) + offset
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def some(count: int = 80, lacking: float = 0.3, seed: int = 0) -> dict[str, ModalityVectors]:
    """Texts that hardly differ, pictures that differ much and are often missing."""
    rng = np.random.default_rng(seed)
    text = ModalityVectors(unit_rows(rng, count, 12, offset=5.0), np.ones(count, np.bool_))
    present = rng.random(count) >= lacking
    pictures = unit_rows(rng, count, 20)
    pictures[~present] = 0
    return {"text": text, "image": ModalityVectors(pictures, present)}


def blocks(fusion: Fusion, encoded: dict[str, ModalityVectors]) -> dict[str, FloatArray]:
    return {name: block.encode(encoded[name]) for name, block in fusion.blocks.items()}


def test_no_modality_dominates_and_missing_rows_change_nothing() -> None:
    encoded = some()
    fusion = Fusion.fit(encoded, 6)
    for name, block in blocks(fusion, encoded).items():
        energy = (block[encoded[name].present] ** 2).sum(1).mean()
        assert energy == pytest.approx(1.0, rel=1e-4)

    encoded = some()
    noisy = encoded["image"].vectors.copy()
    noisy[~encoded["image"].present] = 7.0
    other = {**encoded, "image": ModalityVectors(noisy, encoded["image"].present)}
    one, two = (Fusion.fit(each, 6) for each in (encoded, other))
    assert np.array_equal(one.encode(encoded), two.encode(other))


def test_words_alone_find_items_by_their_text_block() -> None:
    encoded = some()
    fusion = Fusion.fit(encoded, 6)
    words = fusion.encode({"text": encoded["text"]})
    text, pictures = fusion.columns
    assert not words[:, pictures].any()
    block = blocks(fusion, encoded)["text"]
    expected = block / np.linalg.norm(block, axis=1, keepdims=True)
    np.testing.assert_allclose(words[:, text], expected, rtol=1e-4, atol=1e-6)
    searched = fusion.extract_text_part(fusion.encode(encoded))
    np.testing.assert_allclose(searched, words, rtol=1e-3, atol=1e-5)


def test_queries_are_not_centred() -> None:
    """A query is no item: without the mean of items it would be like what items are unlike."""
    fusion = Fusion.fit(some(), 12)
    queries = ModalityVectors(unit_rows(np.random.default_rng(1), 5, 12), np.ones(5, np.bool_))
    found = fusion.encode({"text": queries}, are_queries=True)
    block = fusion.blocks["text"]
    expected = queries.vectors @ block.weight
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, fusion.columns[0]], expected, rtol=1e-4, atol=1e-6)
    assert not found[:, fusion.columns[0].stop :].any()


def test_what_says_nothing_is_left_out_and_vectors_of_another_encoder_refused() -> None:
    encoded = some()
    nobody = ModalityVectors(np.zeros((80, 4), np.float32), np.zeros(80, np.bool_))
    alike = ModalityVectors(np.full((80, 4), 0.5, np.float32), np.ones(80, np.bool_))
    fusion = Fusion.fit({**encoded, "audio": nobody, "other": alike})
    assert fusion.modalities == ("text", "image")
    fusion = Fusion.fit(some())
    with pytest.raises(DataError, match=r"\(2, 5\) do not fit a fusion of vectors of size 12"):
        fusion.encode({"text": ModalityVectors(np.ones((2, 5), np.float32), np.ones(2, np.bool_))})


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 12),
    lacking=st.sampled_from([0.0, 0.5, 1.0]),
    size=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_any_catalogue_gives_finite_rows_that_are_unit_or_masked(
    count: int, lacking: float, size: int, seed: int
) -> None:
    encoded = some(count, lacking, seed)
    fusion = Fusion.fit(encoded, size)
    fused = fusion.encode(encoded)
    assert np.isfinite(fused).all()
    lengths = np.linalg.norm(fused, axis=1)
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()
    assert fusion.present(encoded).shape == (count, len(fusion.modalities))
