"""The judge that serves: saved and opened it says the same, of each pair whatever the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.numeric import unit
from serendip.errors import ArtefactError
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import RelevanceModel, open_model, save_model
from serendip.models.relevance.projection import QueryProjectionConfig
from serendip.models.relevance.train import (
    LabelledPairs,
    RelevanceModelConfig,
    TreesConfig,
    train_relevance_model,
)

ITEMS, QUERIES, SIZE = 60, 40, 16
KINDS = ("lamp", "chair", "rug")
CONFIG = RelevanceModelConfig(
    student=TreesConfig(rounds=20, fewest_pairs=5), likeness=QueryProjectionConfig(landmarks=20)
)


def texts_of_items(seed: int = 0) -> ItemTexts:
    """Items of three kinds in turn; those of another seed begin with another kind."""
    random = np.random.default_rng(seed)
    vectors = [unit(random.normal(size=(ITEMS, SIZE)).astype(np.float32)) for _ in range(3)]
    kinds = [(n + seed) % 3 for n in range(ITEMS)]
    texts = [
        (f"{KINDS[kind]} {n}", f"a {KINDS[kind]}", [f"kind {kind}"]) for n, kind in enumerate(kinds)
    ]
    return ItemTexts.of(texts, *vectors, np.arange(ITEMS + 1))


@pytest.fixture(scope="module")
def judge() -> RelevanceModel:
    random = np.random.default_rng(1)
    words = [f"{KINDS[n % 3]} {n}" for n in range(QUERIES)]
    queries = QueryTexts.of(words, unit(random.normal(size=(QUERIES, SIZE)).astype(np.float32)))
    items = texts_of_items()
    known = PairFeatures.fit(queries, items)
    rows = np.repeat(np.arange(QUERIES), 12).astype(np.int32)
    numbers = random.integers(0, ITEMS, len(rows)).astype(np.int32)
    everything = np.ones(len(rows), np.bool_)
    features = known.of(queries, items, rows, numbers)
    lessons = LabelledPairs(rows, numbers, rows % 3 != numbers % 3, rows, everything, features)
    return train_relevance_model(CONFIG, known, (queries, items), lessons, 0).judge


def ask(judge: RelevanceModel, numbers: np.ndarray, text: str = "lamp for reading") -> np.ndarray:
    vector = unit(np.random.default_rng(5).normal(size=(1, SIZE)).astype(np.float32))[0]
    return judge.probabilities(text, vector, numbers.astype(np.int32))


def test_it_learned_what_is_bad(judge: RelevanceModel) -> None:
    probabilities = ask(judge, np.arange(ITEMS))
    is_bad = np.arange(ITEMS) % 3 != 0
    assert probabilities[is_bad].min() > probabilities[~is_bad].max()


def test_what_it_says_of_a_pair_hangs_on_nothing_else(judge: RelevanceModel) -> None:
    together = ask(judge, np.arange(ITEMS))
    alone = np.concatenate([ask(judge, np.array([number])) for number in range(ITEMS)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_saved_and_opened_it_says_the_same(judge: RelevanceModel, tmp_path: Path) -> None:
    replace(judge, threshold=0.25).save(tmp_path)
    opened = RelevanceModel.open(tmp_path)
    assert opened.threshold == 0.25
    numbers = np.arange(ITEMS)
    np.testing.assert_allclose(ask(opened, numbers), ask(judge, numbers), rtol=0, atol=1e-6)


def test_of_a_new_catalogue_it_says_what_it_says_of_these_texts(
    judge: RelevanceModel, tmp_path: Path
) -> None:
    save_model(judge, tmp_path)
    same = open_model(tmp_path, texts_of_items())
    np.testing.assert_allclose(ask(same, np.arange(5)), ask(judge, np.arange(5)), atol=1e-6)
    other = open_model(tmp_path, texts_of_items(seed=1))
    kinds_in_turn = np.array([2, 0, 1, 5, 3, 4])
    np.testing.assert_allclose(
        ask(other, kinds_in_turn) > 0.5, ask(judge, np.arange(6)) > 0.5, atol=1e-6
    )
    assert not np.allclose(ask(other, np.arange(5)), ask(judge, np.arange(5)), atol=1e-6)


def test_changed_and_later_items_are_not_judged(judge: RelevanceModel) -> None:
    stale = judge.without(np.array([3, ITEMS + 7], np.int32))
    probabilities = ask(stale, np.array([3, 4, ITEMS, ITEMS + 7]))
    assert np.isfinite(probabilities).tolist() == [False, True, False, False]
    assert np.isfinite(ask(judge, np.array([3]))).all()


def test_a_judge_of_other_features_is_refused(judge: RelevanceModel, tmp_path: Path) -> None:
    save_model(judge, tmp_path)
    path = tmp_path / "relevance.json"
    path.write_text(path.read_text().replace("best passages", "worst passages"))
    with pytest.raises(ArtefactError, match="judge of other features"):
        open_model(tmp_path, texts_of_items())


@pytest.mark.parametrize(
    ("name", "command"), [("relevance.json", "judge distil"), ("items/item_words.json", "train")]
)
def test_a_judge_of_before_says_how_to_make_a_new_one(
    judge: RelevanceModel, tmp_path: Path, name: str, command: str
) -> None:
    judge.save(tmp_path)
    document = json.loads((tmp_path / name).read_text())
    del document["format"]
    (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(ArtefactError, match="format None") as refused:
        RelevanceModel.open(tmp_path)
    assert f"`serendip {command}`" in refused.value.hint


def test_an_empty_folder_holds_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no readable texts of items"):
        RelevanceModel.open(tmp_path)
