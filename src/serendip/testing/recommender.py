"""Contract suites of models: what training, scoring, saving and new items must satisfy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from serendip.config import Config, validate
from serendip.data import AllowedItems, Dataset, FloatArray, History, ItemSet, Query
from serendip.data.artefact import VALUE_FILE
from serendip.data.events.event import EXCLUSIONS
from serendip.data.events.rejections import NegativeLog, Rejected
from serendip.errors import ArtefactError, DataError, NotTrainedError, UnsupportedError
from serendip.models import model_class
from serendip.models.base import Recommender, ScoreKind, VotingModel
from serendip.runtime.progress import TrainOptions
from serendip.testing.worlds import build_queries, build_small_world, draw_features


class RecommenderContract(ABC):
    """What every ``Recommender`` must satisfy; inherit it as ``class TestX(RecommenderContract)``.

    A subclass gives ``make``. It may replace ``tolerance`` and the class-scoped fixtures
    ``dataset`` (at least 30 items, with features) and ``queries``. Its own tests may use the
    fixtures ``model``, ``dataset`` and ``queries``; they must not change what they get.

    The model must be registered under its name: a line in ``serendip.models``, or an entry point of
    the group ``serendip.models`` in an installed package.
    """

    tolerance = 1e-5
    """Scores of one query may differ by this much between batches (order of float sums)."""

    stored_tolerance = 0.02
    """Scores of a query may change by this much of the largest one when the model is saved and
    opened: item vectors and weights may be stored rounded, once."""

    @classmethod
    @abstractmethod
    def make(cls) -> Recommender:
        """Make a new, untrained model that trains within a second on ``build_small_world()``."""

    @pytest.fixture(scope="class")
    @classmethod
    def dataset(cls) -> Dataset:
        """What the model of the class is trained on."""
        return build_small_world()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, dataset: Dataset) -> Recommender:
        """A model of ``make`` trained with seed 5, shared by the tests of the class."""
        return cls.make().train(dataset, TrainOptions(seed=5))

    @pytest.fixture(scope="class")
    @classmethod
    def queries(cls, dataset: Dataset) -> list[Query]:
        """Queries with a history, with source items and with no context."""
        return build_queries(dataset)

    def test_it_declares_what_the_engine_needs(self) -> None:
        """The class has a config, a label, a score kind, and votes where it has evidence."""
        model = self.make()
        assert issubclass(model.config_class, Config)
        assert type(model.config) is model.config_class
        assert model.label[0].isupper()
        assert model.source_label[0].islower()
        assert model.score_kind in get_args(ScoreKind)
        if model.evidence is not None:
            assert isinstance(model, VotingModel)
            assert "{title}" in model.evidence.sentence

    def test_its_name_opens_its_class(self, model: Recommender) -> None:
        """``model_class(name)`` is the class: the model is registered under its own name."""
        assert model_class(model.name) is type(model)

    def test_its_config_survives_json(self) -> None:
        """The config written as JSON and read again is equal to itself."""
        config = self.make().config
        again = validate(type(config), config.model_dump(mode="json"), "test")
        assert again == config

    def test_an_untrained_model_says_so(self) -> None:
        """Scoring before training is a ``NotTrainedError`` that names the model."""
        with pytest.raises(NotTrainedError, match=self.make().name):
            self.make().score_all([Query()])

    def test_scores_are_finite_float32_rows_of_the_catalogue(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """Scores are (B, N) float32 without NaN or infinity."""
        scores = model.score_all(queries)
        assert scores.shape == (len(queries), dataset.num_items)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_the_same_seed_gives_the_same_scores(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """Two trainings with one seed give equal scores, bit for bit; an earlier one leaves
        nothing.
        """
        again = self.make().train(build_small_world(seed=8), TrainOptions(seed=5))
        again.train(dataset, TrainOptions(seed=5))
        assert np.array_equal(again.score_all(queries), model.score_all(queries))

    def test_a_saved_model_opens_with_the_same_scores(
        self, model: Recommender, queries: list[Query], tmp_path: Path
    ) -> None:
        """Saving and opening keeps the config and the scores, and every bit the second time."""
        model.save(tmp_path / "model")
        opened = type(model).open(tmp_path / "model")
        assert opened.config == model.config
        self.assert_as_stored(opened.score_all(queries), model.score_all(queries))
        opened.save(tmp_path / "again")
        again = type(model).open(tmp_path / "again")
        assert np.array_equal(again.score_all(queries), opened.score_all(queries))

    def assert_as_stored(self, actual: FloatArray, expected: FloatArray) -> None:
        """Scores (B, N) differ by ``stored_tolerance`` at most."""
        largest = np.abs(expected).max(1, keepdims=True, initial=0.0)  # (B, 1)
        changes = np.abs(actual - expected)  # (B, N)
        assert (changes <= self.stored_tolerance * largest + self.tolerance).all(), changes.max()

    def test_lost_numbers_are_an_artefact_error(self, model: Recommender, tmp_path: Path) -> None:
        """A folder that does not exist, or that has lost ``value.json``, is named."""
        with pytest.raises(ArtefactError, match="nowhere"):
            type(model).open(tmp_path / "nowhere")
        model.save(tmp_path)
        (tmp_path / VALUE_FILE).unlink()
        with pytest.raises(ArtefactError):
            type(model).open(tmp_path)

    def test_a_row_does_not_depend_on_the_other_rows(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        """A query has the same scores alone, in a batch and in a batch reversed."""
        together = model.score_all(queries)
        backwards = model.score_all(queries[::-1])[::-1]
        alone = np.concatenate([model.score_all([query]) for query in queries])
        np.testing.assert_allclose(backwards, together, rtol=0, atol=self.tolerance)
        np.testing.assert_allclose(alone, together, rtol=0, atol=self.tolerance)

    def test_no_queries_and_no_context_are_answered(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        """An empty batch gives scores (0, N) and no lists, no context finite scores; a list of 0
        items is a ``DataError``.
        """
        assert model.score_all([]).shape == (0, dataset.num_items)
        assert model.recommend([]) == []
        assert np.isfinite(model.score_all([Query()])).all()
        with pytest.raises(DataError, match="k = 0"):
            model.recommend([Query()], k=0)

    def test_unknown_items_in_the_context_are_passed_over(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        """Item numbers outside [0, N) in a history or as source items change no score."""
        known = np.asarray([1, 2], dtype=np.int32)
        beyond = np.asarray([-1, 1, 2, dataset.num_items], dtype=np.int32)
        pairs = [
            (Query(history=History.of_items(known)), Query(history=History.of_items(beyond))),
            (Query(source_items=known), Query(source_items=beyond)),
        ]
        for plain, with_unknown in pairs:
            both = model.score_all([plain, with_unknown])
            np.testing.assert_allclose(both[0], both[1], rtol=0, atol=self.tolerance)

    def test_negative_events_are_no_history(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """What users hid or disliked changes nothing that is learned, no score and no vote."""
        again = self.make().train(_with_rejections(dataset), TrainOptions(seed=5))
        expected = model.score_all(queries)
        assert np.array_equal(again.score_all(queries), expected)
        rejected = Rejected.of(np.asarray([5, 2, 7], np.int32), np.asarray([3, 2, 1], np.int8))
        rejecting = [replace(query, rejected=rejected) for query in queries]
        assert np.array_equal(model.score_all(rejecting), expected)
        if isinstance(model, VotingModel):
            for query in rejecting:
                voters, _ = model.votes(query, np.asarray([0, 7], np.int32))
                context = {*query.history.item_nums.tolist(), *query.source_items.tolist()}
                assert set(voters.tolist()) <= context

    def test_recommend_excludes_and_orders(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """Lists leave out excluded items and fall in score."""
        gone = np.arange(0, dataset.num_items, 2, dtype=np.int32)
        query = Query(history=queries[0].history, exclude=gone)
        (answer,) = model.recommend([query], k=dataset.num_items)
        assert not set(answer.item_nums.tolist()) & set(gone.tolist())
        assert (np.diff(answer.scores) <= 0).all()

    def test_scores_of_items_are_entries_of_all_scores(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        """``query_scores`` has the entries of ``score_all`` and the largest of each row, of new
        and changed items, too.
        """
        newer = model.with_late(draw_features(9, 3))
        changed = newer.with_late(draw_features(10, 2), np.asarray([4, 29], np.int32))
        for one in (model, newer, changed):
            scores, given = one.score_all(queries), one.query_scores(queries)
            rows, items = np.indices(scores.shape, np.int32).reshape(2, -1)
            some = np.random.default_rng(0).random(len(rows)) < 0.5
            found = given.of_items(rows[some], items[some])
            assert found.dtype == np.float32
            pairs = (found, scores[rows[some], items[some]]), (given.best(), scores.max(1))
            for one_way, another in pairs:
                np.testing.assert_allclose(one_way, another, rtol=1e-5, atol=self.tolerance)

    def test_proposals_are_the_best_allowed_items(
        self, model: Recommender, queries: list[Query]
    ) -> None:
        """``top`` gives k of k allowed items with evidence, best first, whatever is allowed."""
        newer = model.with_late(draw_features(9, 3))
        rng = np.random.default_rng(1)
        for one in (model, newer):
            count, scores = one.num_items, one.score_all(queries)
            for share in (1.0, 0.5, 0.1, 0.0):
                shared = ItemSet(rng.random(count) < share)
                left_out = rng.integers(-1, count + 2, 5).astype(np.int32)
                allowed = [AllowedItems(shared).without(left_out) for _ in queries]
                lists = one.query_scores(queries).top(7, allowed)
                for row, items, may in zip(scores, lists, allowed, strict=True):
                    expected = _best_allowed(row, may, 7, one.zero_means_unknown)
                    assert may.admits(items.item_nums).all()
                    for found in (items.scores, row[items.item_nums]):
                        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=self.tolerance)

    def test_scoring_changes_no_input(self, model: Recommender, dataset: Dataset) -> None:
        """Scoring leaves the queries as they are, and its scores are the caller's to write into."""
        history, source = dataset.history(0), np.asarray([3, 4], dtype=np.int32)
        queries = [Query(history=history), Query(source_items=source)]
        item_nums, timestamps = history.item_nums.copy(), history.timestamps.copy()
        scores = model.score_all(queries)
        expected = scores.copy()
        scores[:] = 7.0
        assert np.array_equal(model.score_all(queries), expected)
        assert np.array_equal(history.item_nums, item_nums)
        assert np.array_equal(history.timestamps, timestamps)
        assert source.tolist() == [3, 4]

    def test_training_changes_no_input(self) -> None:
        """Training leaves the arrays of the dataset as they are."""
        dataset, untouched = build_small_world(), build_small_world()
        self.make().train(dataset)
        assert np.array_equal(dataset.events.items, untouched.events.items)
        assert dataset.features is not None and untouched.features is not None
        assert np.array_equal(dataset.features.content, untouched.features.content)
        assert np.array_equal(dataset.features.codes, untouched.features.codes)

    def test_new_items_leave_the_old_scores_alone(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """``with_late`` of new items adds finite scores, keeps the others and changes a copy only.

        New items may come again, and may be the history or the source items.
        """
        old, before = dataset.num_items, model.score_all(queries)
        late = model.with_late(draw_features(9, 1)).with_late(draw_features(10, 2))
        asked = [*queries, *_queries_of(old, old + 2)]
        scores = late.score_all(asked)
        assert late.num_items == old + 3
        assert scores.shape == (len(asked), old + 3)
        assert np.isfinite(scores).all()
        kept = scores[: len(queries), :old]
        np.testing.assert_allclose(kept, before, rtol=0, atol=self.tolerance)
        assert np.array_equal(model.score_all(queries), before)

    def test_changed_items_leave_the_old_model_alone(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """``with_late`` of known items gives finite scores and changes a copy only.

        An edit of no item changes nothing, nor does one of every item to its present content.
        """
        old, before = dataset.num_items, model.score_all(queries)
        changed = model.with_late(draw_features(9, 2), np.asarray([4, 29], np.int32))
        assert changed.num_items == old
        assert np.isfinite(changed.score_all(queries)).all()
        assert np.array_equal(model.score_all(queries), before)
        assert np.array_equal(model.with_late(draw_features(9, 0)).score_all(queries), before)
        assert dataset.features is not None
        same = model.with_late(dataset.features, np.arange(old, dtype=np.int32))
        np.testing.assert_allclose(same.score_all(queries), before, rtol=0, atol=self.tolerance)

    def test_a_late_item_that_changes_is_the_changed_one(
        self, model: Recommender, queries: list[Query], dataset: Dataset
    ) -> None:
        """A new item that is edited has the scores that it had if it had come so."""
        newest = np.asarray([dataset.num_items], dtype=np.int32)
        asked, final = [*queries, *_queries_of(dataset.num_items)], draw_features(10, 1)
        changed = model.with_late(draw_features(9, 1)).with_late(final, newest)
        expected = model.with_late(final).score_all(asked)
        np.testing.assert_allclose(changed.score_all(asked), expected, rtol=0, atol=1e-5)

    def test_a_reopened_model_takes_late_items(
        self, model: Recommender, queries: list[Query], tmp_path: Path
    ) -> None:
        """A saved and opened model takes late items as the model itself; with some it is not saved.

        The store has late items, and the next training makes a model of all.
        """
        model.save(tmp_path)
        opened, numbers = type(model).open(tmp_path), np.asarray([29, 4], np.int32)
        for item_nums in (None, numbers):
            late = model.with_late(draw_features(9, 2), item_nums)
            again = opened.with_late(draw_features(9, 2), item_nums)
            self.assert_as_stored(again.score_all(queries), late.score_all(queries))
            with pytest.raises(UnsupportedError, match="after its training"):
                late.save(tmp_path)

    def test_late_items_are_known_or_the_next_new_ones(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        """A gap, a number below 0, no features or no training is refused."""
        for number in (-1, dataset.num_items + 1):
            with pytest.raises(DataError, match="item numbers"):
                model.with_late(draw_features(9, 2), np.asarray([3, number], np.int32))
        with pytest.raises(DataError, match="2 late items, but 1 rows of features"):
            model.with_late(draw_features(9, 1), np.asarray([3, 4], np.int32))
        with pytest.raises(NotTrainedError):
            self.make().with_late(draw_features(9, 1))

    def test_the_smallest_worlds_work(self) -> None:
        """Training and scoring work with one item and one user, and without any event."""
        sizes = {"num_items": 1, "num_users": 1, "num_events": 3}
        for dataset in (build_small_world(**sizes), build_small_world(num_events=0)):
            model = self.make().train(dataset)
            source = np.asarray([dataset.num_items - 1], dtype=np.int32)
            queries = [Query(), Query(history=dataset.history(0)), Query(source_items=source)]
            scores = model.score_all(queries)
            assert scores.shape == (3, dataset.num_items)
            assert np.isfinite(scores).all()


def _queries_of(*items: int) -> list[Query]:
    """Queries with these items as source items and as history."""
    numbers = np.asarray(items, dtype=np.int32)
    return [Query(source_items=numbers), Query(history=History.of_items(numbers))]


def _with_rejections(dataset: Dataset) -> Dataset:
    """The same interactions, and negative events of every user with every item."""
    users, items = np.indices((dataset.num_users, dataset.num_items), np.int32).reshape(2, -1)
    count = len(users)
    negatives = NegativeLog(
        users,
        items,
        np.linspace(0.0, 1e6, count),
        np.full(count, np.nan, np.float32),
        np.full(count, EXCLUSIONS.index("everywhere"), np.int8),
        np.full(count, np.inf),
    )
    return replace(dataset, negatives=negatives)


def _best_allowed(
    scores: FloatArray, allowed: AllowedItems, k: int, zero_means_unknown: bool
) -> FloatArray:
    """The k largest scores of allowed items, in order; none if all items have one score."""
    if scores.max() <= scores.min():
        return scores[:0]
    usable = allowed.mask() & ((scores != 0) | (not zero_means_unknown))
    return np.sort(scores[usable])[::-1][:k]


class LocalChangeContract:
    """For models in which editing an item changes no other score, unless a query names the item.

    Inherit it beside ``RecommenderContract``, whose fixtures it uses; a subclass gives nothing.
    """

    def test_a_changed_item_leaves_the_scores_of_the_others_alone(self, model: Recommender) -> None:
        """Editing item 7 changes the score of item 7 only, where no query names it."""
        seen = History.of_items(np.asarray([1, 5, 2], dtype=np.int32))
        queries = [Query(), Query(history=seen), Query(source_items=np.asarray([3], np.int32))]
        changed = model.with_late(draw_features(9, 1), np.asarray([7], np.int32))
        others = np.arange(model.num_items) != 7
        before, after = model.score_all(queries), changed.score_all(queries)
        np.testing.assert_allclose(after[:, others], before[:, others], rtol=0, atol=1e-5)


class VotesContract:
    """For models with ``votes``: how much each item of the context adds to an item's score.

    Inherit it beside ``RecommenderContract``, whose fixtures it uses; a subclass gives nothing.
    """

    def test_votes_come_from_items_of_the_context(
        self, model: VotingModel, queries: list[Query]
    ) -> None:
        """Votes are finite, (T, C), one row per different item of the context, none without one."""
        items_scored = np.asarray([5, 0, 29], dtype=np.int32)
        for query in queries:
            items, votes = model.votes(query, items_scored)
            context = {*query.history.item_nums.tolist(), *query.source_items.tolist()}
            assert set(items.tolist()) <= context
            assert bool(len(items)) == bool(context)
            assert len(set(items.tolist())) == len(items)
            assert votes.shape == (len(items), 3)
            assert np.isfinite(votes).all()

    def test_votes_for_an_item_do_not_depend_on_the_others(
        self, model: VotingModel, queries: list[Query], dataset: Dataset
    ) -> None:
        """Votes for an item are the same alone and among the whole catalogue."""
        everything = np.arange(dataset.num_items, dtype=np.int32)
        items, votes = model.votes(queries[0], everything)
        for number in (0, 7, dataset.num_items - 1):
            alone, vote = model.votes(queries[0], everything[number, None])
            assert np.array_equal(alone, items)
            np.testing.assert_allclose(vote[:, 0], votes[:, number], rtol=0, atol=1e-6)

    def test_votes_need_a_context(self, model: VotingModel) -> None:
        """A query without context has votes (0, C)."""
        items, votes = model.votes(Query(), np.asarray([0, 1], np.int32))
        assert len(items) == 0
        assert votes.shape == (0, 2)


class AddingVotesContract(VotesContract):
    """For models whose scores are sums of votes; inherit it instead of ``VotesContract``."""

    def test_votes_of_a_short_context_add_up_to_the_scores(
        self, model: Recommender, dataset: Dataset
    ) -> None:
        """Votes over the whole context sum to the scores."""
        assert isinstance(model, VotingModel)
        everything = np.arange(dataset.num_items, dtype=np.int32)
        seen = np.asarray([2, 0, 9, 2, 1, 28], dtype=np.int32)
        for query in (Query(history=History.of_items(seen)), Query(source_items=everything[:8])):
            _, votes = model.votes(query, everything)
            scores = model.score_all([query])[0]
            assert scores.any()
            np.testing.assert_allclose(votes.sum(0), scores, rtol=0, atol=1e-5)
