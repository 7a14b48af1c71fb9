from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.numeric import unit
from serendip.errors import ArtefactError
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import FEATURES, LearnedRelevance, RelevanceModel
from serendip.models.relevance.train import LabelledPairs, train_relevance_model

ITEMS, QUERIES, SIZE = 60, 40, 16
NO_ATTRIBUTES = Catalogue(Item(f"i{number}") for number in range(ITEMS))
KINDS = ("lamp", "chair", "rug")


def build_item_texts(seed: int = 0) -> ItemTexts:
    """Items of three kinds in turn; the first kind depends on the seed."""
    random = np.random.default_rng(seed)
    vectors = [unit(random.normal(size=(ITEMS, SIZE)).astype(np.float32)) for _ in range(3)]
    kinds = [(n + seed) % 3 for n in range(ITEMS)]
    texts = [
        (f"{KINDS[kind]} {n}", f"a {KINDS[kind]}", [f"kind {kind}"]) for n, kind in enumerate(kinds)
    ]
    return ItemTexts.of(texts, *vectors, np.arange(ITEMS + 1))


@pytest.fixture(scope="module")
def model() -> RelevanceModel:
    random = np.random.default_rng(1)
    words = [f"{KINDS[n % 3]} {n}" for n in range(QUERIES)]
    queries = QueryTexts.of(words, unit(random.normal(size=(QUERIES, SIZE)).astype(np.float32)))
    items = build_item_texts()
    pair_features = PairFeatures.fit(queries, items)
    rows = np.repeat(np.arange(QUERIES), 12).astype(np.int32)
    numbers = random.integers(0, ITEMS, len(rows)).astype(np.int32)
    is_typical = np.ones(len(rows), np.bool_)
    features = pair_features.compute(queries, items, rows, numbers)
    examples = LabelledPairs(rows, numbers, rows % 3 != numbers % 3, rows, is_typical, features)
    return train_relevance_model(pair_features, (queries, items), examples, 0).model


def predict(
    model: RelevanceModel, numbers: np.ndarray, text: str = "lamp for reading"
) -> np.ndarray:
    vector = unit(np.random.default_rng(5).normal(size=(1, SIZE)).astype(np.float32))[0]
    return model.probabilities(text, vector, numbers.astype(np.int32))


def test_irrelevant_items_have_higher_probabilities_whatever_is_beside_them(
    model: RelevanceModel,
) -> None:
    probabilities = predict(model, np.arange(ITEMS))
    is_irrelevant = np.arange(ITEMS) % 3 != 0
    assert probabilities[is_irrelevant].min() > probabilities[~is_irrelevant].max()
    together = predict(model, np.arange(ITEMS))
    alone = np.concatenate([predict(model, np.array([number])) for number in range(ITEMS)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_an_opened_model_predicts_as_the_saved_one(model: RelevanceModel, tmp_path: Path) -> None:
    replace(model.learned, threshold=0.25).save(tmp_path / "learned")
    model.items.save(tmp_path / "items")
    items = ItemTexts.open(tmp_path / "items")
    opened = LearnedRelevance.open(tmp_path / "learned").apply(items, NO_ATTRIBUTES)
    assert opened.threshold == 0.25
    numbers = np.arange(ITEMS)
    np.testing.assert_allclose(predict(opened, numbers), predict(model, numbers), rtol=0, atol=1e-6)


def test_predictions_for_a_new_catalogue_depend_on_its_texts_only(model: RelevanceModel) -> None:
    same = model.learned.apply(build_item_texts(), NO_ATTRIBUTES)
    np.testing.assert_allclose(predict(same, np.arange(5)), predict(model, np.arange(5)), atol=1e-6)
    other = model.learned.apply(build_item_texts(seed=1), NO_ATTRIBUTES)
    kinds_in_turn = np.array([2, 0, 1, 5, 3, 4])
    np.testing.assert_allclose(
        predict(other, kinds_in_turn) > 0.5, predict(model, np.arange(6)) > 0.5, atol=1e-6
    )
    assert not np.allclose(predict(other, np.arange(5)), predict(model, np.arange(5)), atol=1e-6)


def test_changed_and_new_items_and_other_features_have_no_prediction(model: RelevanceModel) -> None:
    stale = model.without(np.array([3, ITEMS + 7], np.int32))
    probabilities = predict(stale, np.array([3, 4, ITEMS, ITEMS + 7]))
    assert np.isfinite(probabilities).tolist() == [False, True, False, False]
    assert np.isfinite(predict(model, np.array([3]))).all()

    other = replace(model.learned, names=(*FEATURES[:-1], "letters of title"))
    with pytest.raises(ArtefactError, match="has other features") as refused:
        other.apply(build_item_texts(), NO_ATTRIBUTES)
    assert "`serendip judge distil`" in refused.value.hint
