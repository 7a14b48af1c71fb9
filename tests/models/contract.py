"""What every recommender promises; a model's test class inherits this and says how to make it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pytest

from serendip.config import validate
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, EventLog, QueryExamples
from serendip.data.item import Catalogue, Item
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.data.query import History, Query
from serendip.data.vocabulary import Vocabulary
from serendip.errors import ArtefactError, DataError, NotTrainedError
from serendip.models import model_class
from serendip.models.base import Recommender
from serendip.runtime.progress import TrainOptions

NUM_CODES = 4
VECTOR_SIZE = 16


def unit_vectors(rng: np.random.Generator, count: int) -> FloatArray:
    """Random unit vectors (count, VECTOR_SIZE)."""
    vectors = rng.normal(size=(count, VECTOR_SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_features(seed: int, count: int) -> ItemFeatures:
    """Content, codes and words of ``count`` made-up items."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, NUM_CODES, (count, 2)).astype(np.int32)
    tokens = Tokens.of_texts(f"thing {seed} {number}" for number in range(count))
    return ItemFeatures(unit_vectors(rng, count), codes, NUM_CODES, tokens=tokens)


def small_world(
    num_items: int = 30, num_users: int = 12, num_events: int = 240, seed: int = 3
) -> Dataset:
    """A seeded dataset with features and query examples; the last two items have no events."""
    rng = np.random.default_rng(seed)
    items = [Item(f"i{number}", f"Thing number {number}") for number in range(num_items)]
    reached = max(num_items - 2, 1)
    log = EventLog(
        rng.integers(0, num_users, num_events).astype(np.int32),
        (rng.random(num_events) ** 2 * reached).astype(np.int32),
        np.sort(rng.uniform(0.0, 1e6, num_events)),
        rng.random(num_events) < 0.5,
        np.full(num_events, np.nan, dtype=np.float32),
    )
    found = rng.integers(0, num_items, 20).astype(np.int32)
    texts = [items[number].title for number in found]
    users = Vocabulary(f"u{number}" for number in range(num_users))
    return Dataset(
        Catalogue(items),
        users,
        log,
        random_features(seed, num_items),
        QueryExamples(texts, unit_vectors(rng, len(found)), found),
    )


def queries_of(dataset: Dataset, count: int = 6) -> list[Query]:
    """Home queries of the first users, one query with source items, one visitor without past."""
    users = [
        Query(user_id=dataset.users.id(user), history=dataset.history(user), time=2e6)
        for user in range(min(count, dataset.num_users))
    ]
    source = np.asarray([0, dataset.num_items - 1], dtype=np.int32)
    similar = Query(surface="similar", source_items=np.unique(source), time=2e6)
    return [*users, similar, Query(time=2e6)]


class RecommenderContract(ABC):
    """Inherit it as ``class TestX(RecommenderContract)``."""

    tolerance = 1e-5
    """Scores of one query may differ by this much between batches (order of float sums)."""

    @classmethod
    @abstractmethod
    def make(cls) -> Recommender:
        """A new, untrained model that trains within a second on ``small_world``."""

    @pytest.fixture(scope="class")
    @classmethod
    def dataset(cls) -> Dataset:
        return small_world()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, dataset: Dataset) -> Recommender:
        return cls.make().train(dataset, TrainOptions(seed=5))

    @pytest.fixture(scope="class")
    @classmethod
    def queries(cls, dataset: Dataset) -> list[Query]:
        return queries_of(dataset)

    def test_its_name_opens_its_class(self, model: Recommender) -> None:
        assert model_class(model.name) is type(model)

    def test_its_config_survives_json(self) -> None:
        config = self.make().config
        again = validate(type(config), config.model_dump(mode="json"), "test")
        assert again == config

    def test_an_untrained_model_says_so(self) -> None:
        with pytest.raises(NotTrainedError, match=self.make().name):
            self.make().score_all([Query()])

    def test_scores_are_finite_float32_rows_of_the_catalogue(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        scores = model.score_all(queries)
        assert scores.shape == (len(queries), dataset.num_items)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_the_same_seed_gives_the_same_scores(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        again = self.make().train(dataset, TrainOptions(seed=5))
        assert np.array_equal(again.score_all(queries), model.score_all(queries))

    def test_training_twice_starts_afresh(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        again = self.make().train(small_world(seed=8), TrainOptions(seed=5))
        again.train(dataset, TrainOptions(seed=5))
        assert np.array_equal(again.score_all(queries), model.score_all(queries))

    def test_a_saved_model_opens_with_the_same_scores(
        self, model: Recommender, queries: list[Query], tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model")
        opened = type(model).open(tmp_path / "model")
        assert opened.config == model.config
        assert np.array_equal(opened.score_all(queries), model.score_all(queries))

    def test_a_missing_folder_is_an_artefact_error(self, tmp_path: Path) -> None:
        with pytest.raises(ArtefactError, match="nowhere"):
            type(self.make()).open(tmp_path / "nowhere")

    def test_lost_numbers_are_an_artefact_error(self, model: Recommender, tmp_path: Path) -> None:
        model.save(tmp_path)
        for file in tmp_path.rglob("*"):
            if file.is_file() and file.name != "config.json":
                file.unlink()
        with pytest.raises(ArtefactError):
            type(model).open(tmp_path)

    def test_a_row_does_not_depend_on_the_other_rows(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        together = model.score_all(queries)
        backwards = model.score_all(queries[::-1])[::-1]
        alone = np.concatenate([model.score_all([query]) for query in queries])
        np.testing.assert_allclose(backwards, together, rtol=0, atol=self.tolerance)
        np.testing.assert_allclose(alone, together, rtol=0, atol=self.tolerance)

    def test_no_queries_give_no_rows(self, model: Recommender, dataset: Dataset) -> None:
        assert model.score_all([]).shape == (0, dataset.num_items)
        assert model.recommend([]) == []

    def test_an_empty_history_is_answered(self, model: Recommender, dataset: Dataset) -> None:
        scores = model.score_all([Query()])
        assert scores.shape == (1, dataset.num_items)
        assert np.isfinite(scores).all()

    def test_unknown_items_in_the_context_are_passed_over(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        known = np.asarray([1, 2], dtype=np.int32)
        beyond = np.asarray([-1, 1, 2, dataset.num_items], dtype=np.int32)
        pairs = [
            (Query(history=History.of_items(known)), Query(history=History.of_items(beyond))),
            (Query(source_items=known), Query(source_items=beyond)),
        ]
        for plain, with_unknown in pairs:
            both = model.score_all([plain, with_unknown])
            np.testing.assert_allclose(both[0], both[1], rtol=0, atol=self.tolerance)

    def test_recommend_excludes_and_orders(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        gone = np.arange(0, dataset.num_items, 2, dtype=np.int32)
        query = Query(history=queries[0].history, exclude=gone)
        (answer,) = model.recommend([query], k=dataset.num_items)
        assert not set(answer.item_nums.tolist()) & set(gone.tolist())
        assert (np.diff(answer.scores) <= 0).all()

    def test_k_below_one_is_refused(self, model: Recommender) -> None:
        with pytest.raises(DataError, match="k = 0"):
            model.recommend([Query()], k=0)

    def test_scoring_changes_no_input(self, model: Recommender, dataset: Dataset) -> None:
        history = dataset.history(0)
        source = np.asarray([3, 4], dtype=np.int32)
        before = (history.item_nums.copy(), history.timestamps.copy(), source.copy())
        model.score_all([Query(history=history), Query(source_items=source)])
        after = (history.item_nums, history.timestamps, source)
        assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))

    def test_training_changes_no_input(self) -> None:
        dataset, untouched = small_world(), small_world()
        self.make().train(dataset)
        assert np.array_equal(dataset.events.items, untouched.events.items)
        assert dataset.features is not None and untouched.features is not None
        assert np.array_equal(dataset.features.content, untouched.features.content)
        assert np.array_equal(dataset.features.codes, untouched.features.codes)

    def test_scores_given_away_may_be_overwritten(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        first = model.score_all(queries)
        kept = first.copy()
        first[:] = 7.0
        assert np.array_equal(model.score_all(queries), kept)

    def test_new_items_leave_the_old_scores_alone(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        old = dataset.num_items
        before = model.score_all(queries)
        extended = model.with_items(random_features(9, 3))
        scores = extended.score_all(queries)
        assert extended.num_items == old + 3
        np.testing.assert_allclose(scores[:, :old], before, rtol=0, atol=self.tolerance)
        assert np.isfinite(scores[:, old:]).all()
        assert np.array_equal(model.score_all(queries), before)

    def test_new_items_can_be_added_twice_and_be_the_context(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        extended = model.with_items(random_features(9, 1)).with_items(random_features(10, 2))
        newest = np.asarray([dataset.num_items, dataset.num_items + 2], dtype=np.int32)
        queries = [Query(source_items=newest), Query(history=History.of_items(newest))]
        scores = extended.score_all(queries)
        assert scores.shape == (2, dataset.num_items + 3)
        assert np.isfinite(scores).all()

    def test_an_extended_and_reopened_model_scores_the_same(
        self, model: Recommender, queries: list[Query], tmp_path: Path
    ) -> None:
        model.save(tmp_path)
        new = random_features(9, 2)
        reopened = type(model).open(tmp_path).with_items(new)
        expected = model.with_items(new).score_all(queries)
        np.testing.assert_allclose(
            reopened.score_all(queries), expected, rtol=0, atol=self.tolerance
        )

    def test_an_item_appended_and_then_changed_is_the_changed_one_appended(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        newest = np.asarray([dataset.num_items], dtype=np.int32)
        asked = [*queries, Query(source_items=newest), Query(history=History.of_items(newest))]
        draft, final = random_features(9, 1), random_features(10, 1)
        changed = model.with_items(draft).with_changed_items(newest, final)
        expected = model.with_items(final).score_all(asked)
        np.testing.assert_allclose(changed.score_all(asked), expected, rtol=0, atol=1e-5)

    def test_changed_items_leave_the_old_model_alone(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        before = model.score_all(queries)
        changed = model.with_changed_items(np.asarray([4, 29], np.int32), random_features(9, 2))
        assert changed.num_items == dataset.num_items
        assert np.isfinite(changed.score_all(queries)).all()
        assert np.array_equal(model.score_all(queries), before)

    def test_a_changed_and_reopened_model_scores_the_same(
        self, model: Recommender, queries: list[Query], tmp_path: Path
    ) -> None:
        changed = model.with_changed_items(np.asarray([29, 4], np.int32), random_features(9, 2))
        changed.save(tmp_path)
        opened = type(model).open(tmp_path)
        assert np.array_equal(opened.score_all(queries), changed.score_all(queries))
        numbers, back = np.asarray([4], np.int32), random_features(11, 1)
        np.testing.assert_allclose(
            opened.with_changed_items(numbers, back).score_all(queries),
            changed.with_changed_items(numbers, back).score_all(queries),
            rtol=0,
            atol=self.tolerance,
        )

    def test_changing_an_item_to_what_it_is_changes_no_score(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        assert dataset.features is not None
        same = model.with_changed_items(np.arange(30, dtype=np.int32), dataset.features)
        expected = model.score_all(queries)
        np.testing.assert_allclose(same.score_all(queries), expected, rtol=0, atol=self.tolerance)

    def test_changing_no_items_is_allowed(self, model: Recommender, queries: list[Query]) -> None:
        same = model.with_changed_items(np.empty(0, np.int32), random_features(9, 0))
        assert np.array_equal(same.score_all(queries), model.score_all(queries))

    def test_only_known_items_can_change(self, model: Recommender) -> None:
        for number in (-1, 30):
            with pytest.raises(DataError, match=f"item number {number} "):
                model.with_changed_items(np.asarray([3, number], np.int32), random_features(9, 2))

    def test_every_changed_item_needs_its_features(self, model: Recommender) -> None:
        with pytest.raises(DataError, match="2 changed items, but 1 rows of features"):
            model.with_changed_items(np.asarray([3, 4], np.int32), random_features(9, 1))

    def test_an_untrained_model_changes_no_items(self) -> None:
        with pytest.raises(NotTrainedError):
            self.make().with_changed_items(np.asarray([0], np.int32), random_features(9, 1))

    def test_a_catalogue_of_one_item_works(self) -> None:
        dataset = small_world(num_items=1, num_users=1, num_events=3)
        model = self.make().train(dataset)
        scores = model.score_all([Query(), Query(history=dataset.history(0))])
        assert scores.shape == (2, 1)
        assert np.isfinite(scores).all()

    def test_a_log_without_events_works(self) -> None:
        dataset = small_world(num_events=0)
        model = self.make().train(dataset)
        scores = model.score_all([Query(), Query(source_items=np.asarray([1], dtype=np.int32))])
        assert np.isfinite(scores).all()


class LocalChangeContract:
    """For models in which an item that is neither asked about nor asked for plays no part."""

    def test_a_changed_item_leaves_the_scores_of_the_others_alone(self, model: Recommender) -> None:
        seen = History.of_items(np.asarray([1, 5, 2], dtype=np.int32))
        asked = [Query(), Query(history=seen), Query(source_items=np.asarray([3], np.int32))]
        changed = model.with_changed_items(np.asarray([7], np.int32), random_features(9, 1))
        others = np.arange(model.num_items) != 7
        before, after = model.score_all(asked), changed.score_all(asked)
        np.testing.assert_allclose(after[:, others], before[:, others], rtol=0, atol=1e-5)


class VotesContract:
    """For models that say what each item of the context gives to an item's score."""

    def test_votes_come_from_items_of_the_context(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        asked = np.asarray([5, 0, 29], dtype=np.int32)
        for query in queries:
            items, votes = model.votes(query, asked)  # type: ignore[attr-defined]
            context = {*query.history.item_nums.tolist(), *query.source_items.tolist()}
            assert set(items.tolist()) <= context
            assert bool(len(items)) == bool(context)
            assert len(set(items.tolist())) == len(items)
            assert votes.shape == (len(items), 3)
            assert np.isfinite(votes).all()

    def test_votes_for_an_item_do_not_depend_on_the_others(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        everything = np.arange(dataset.num_items, dtype=np.int32)
        items, votes = model.votes(queries[0], everything)  # type: ignore[attr-defined]
        for number in (0, 7, dataset.num_items - 1):
            alone, vote = model.votes(queries[0], everything[number, None])  # type: ignore[attr-defined]
            assert np.array_equal(alone, items)
            np.testing.assert_allclose(vote[:, 0], votes[:, number], rtol=0, atol=1e-6)

    def test_votes_need_a_context(self, model: Recommender) -> None:
        items, votes = model.votes(Query(), np.asarray([0, 1], np.int32))  # type: ignore[attr-defined]
        assert len(items) == 0
        assert votes.shape == (0, 2)


class AddingVotesContract(VotesContract):
    """For models whose scores are sums of votes."""

    def test_votes_of_a_short_context_add_up_to_the_scores(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        everything = np.arange(dataset.num_items, dtype=np.int32)
        seen = np.asarray([2, 0, 9, 2, 1, 28], dtype=np.int32)
        for query in (Query(history=History.of_items(seen)), Query(source_items=everything[:8])):
            _, votes = model.votes(query, everything)  # type: ignore[attr-defined]
            scores = model.score_all([query])[0]
            assert scores.any()
            np.testing.assert_allclose(votes.sum(0), scores, rtol=0, atol=1e-5)
