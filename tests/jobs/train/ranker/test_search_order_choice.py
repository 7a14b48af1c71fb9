"""The rule that says whether the ranker orders search, on made rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from serendip.data.arrays import NO_ITEMS
from serendip.data.query import TASKS, Query
from serendip.engine.config.settings import Settings
from serendip.evaluate.comparison import MIN_USERS
from serendip.jobs.train.ranker.labelled_query import LabelledQuery
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.jobs.train.ranker.search_order_choice import (
    OTHERS,
    SampledSearches,
    choose_search_order,
    gains_of,
)
from serendip.models.ranker.config import RankerRows, SearchSource
from serendip.models.ranker.search_order import SearchOrder
from serendip.runtime.budget import Allowance, TimeBudget
from serendip.runtime.progress import TrainOptions

NAMES = ("told", "random")
CANDIDATES = 30
HOME, SEARCH = TASKS.index("home"), TASKS.index("search")


def quick(settings: Settings) -> Settings:
    ranker = settings.ranker.model_copy(update={"epochs": 4, "hidden_size": 16})
    return settings.model_copy(update={"ranker": ranker})


@pytest.fixture
def settings() -> Settings:
    return quick(Settings())


def search(number: int, source: SearchSource = "logged", user: str = "", text: str = ""):
    text = text or f"words {number}"
    query = Query("search", text=text, user_id=user)
    return LabelledQuery(query, NO_ITEMS, [], source=source, user_id=user)


def world(
    requests: list[LabelledQuery], told: float, by_fusion: float, seed: int = 0
) -> SampledSearches:
    """Searches with one chosen item of 30: the feature ``told`` and fusion tell it so well.

    Args:
        requests: home requests and searches.
        told: mean of the feature for chosen items; 0 for others, with deviation 1.
        by_fusion: the same of the values of rank fusion.
        seed: of the draws.
    """
    rng, count = np.random.default_rng(seed), len(requests) * CANDIDATES
    chosen = np.zeros((len(requests), CANDIDATES), np.bool_)
    chosen[np.arange(len(requests)), rng.integers(CANDIDATES, size=len(requests))] = True
    labels = np.repeat(chosen.reshape(-1, 1), 2, axis=1).astype(np.float32)
    features = rng.normal(size=(count, 2)).astype(np.float32)
    features[:, 0] += told * labels[:, 0]
    fused = 10.0 + rng.normal(size=count) + by_fusion * labels[:, 0]
    group = np.repeat(np.arange(len(requests)), CANDIDATES)
    tasks = np.array([TASKS.index(one.query.surface) for one in requests])
    rows = RankerRows(features, tasks[group], labels, np.ones(count, np.float32), group)
    of_people = np.array([one.source in ("logged", "labelled") for one in requests])[group]
    compared = SearchCandidates(rows, fused.astype(np.float32), np.zeros(count, np.float32))
    return SampledSearches(rows, NAMES, requests, [compared.at(of_people)])


def ask(count: int, source: SearchSource = "logged") -> list[LabelledQuery]:
    return [search(number, source, f"u{number}") for number in range(count)]


def test_the_ranker_orders_search_where_it_finds_more_of_what_was_chosen(settings: Settings):
    order = choose_search_order(world(ask(150), 3.0, 0.5), settings, TrainOptions())
    assert order.by_ranker
    assert order.searches == {"logged": 150, "labelled": 0, "written": 0}
    assert (order.compared, order.users, order.note) == (150, 150, "")
    assert order.ranker is not None and order.fusion is not None and order.low is not None
    assert order.difference == pytest.approx(order.ranker - order.fusion)
    assert order.low > 0


@pytest.mark.parametrize(
    ("told", "by_fusion"), [(0.0, 0.0), (0.5, 3.0)], ids=["noise", "fusion is better"]
)
@pytest.mark.parametrize("source", ["logged", "labelled"])
def test_sources_stay_fused_where_nothing_tells_or_fusion_tells_more(
    settings: Settings, told: float, by_fusion: float, source: SearchSource
):
    asked = world(ask(150, source), told, by_fusion)
    order = choose_search_order(asked, settings, TrainOptions())
    assert not order.by_ranker
    assert order.low is not None and order.low < 0
    assert order.note == ""


def test_written_queries_decide_nothing(settings: Settings):
    asked = world(ask(150, "written"), 3.0, 0.0)
    order = choose_search_order(asked, settings, TrainOptions())
    assert order == SearchOrder(
        False,
        {"logged": 0, "labelled": 0, "written": 150},
        note="no search of people can be compared on",
    )


@pytest.mark.parametrize(
    ("requests", "users", "reason"),
    [
        ([search(n, user=f"u{n % (MIN_USERS - 1)}") for n in range(200)], 49, "too few"),
        ([search(n, "labelled", text=f"same {n % 49}") for n in range(200)], 49, "too few"),
        ([search(n, user=f"u{n}", text="Same") for n in range(60)], 60, "the same words"),
    ],
    ids=["few users", "few queries", "one query"],
)
def test_with_few_users_or_queries_nothing_is_compared(
    settings: Settings, requests: list[LabelledQuery], users: int, reason: str
):
    order = choose_search_order(world(requests, 3.0, 0.0), settings, TrainOptions())
    assert (order.by_ranker, order.compared, order.users) == (False, len(requests), users)
    assert order.ranker is None
    assert reason in order.note


def split_world(logged: tuple[int, float, float], labelled: tuple[int, float, float]):
    """Logged and labelled searches, of each a number, and how well feature and fusion tell."""
    requests = [*ask(logged[0]), *(search(1_000 + n, "labelled") for n in range(labelled[0]))]
    asked = world(requests, 0.0, 0.0)
    (part,) = asked.compared
    is_logged = part.rows.group < logged[0]
    told, by_fusion = (np.where(is_logged, logged[n], labelled[n]) for n in (1, 2))
    features, chosen = part.rows.features.copy(), part.rows.labels[:, 0]
    features[:, 0] += told * chosen
    rows = replace(part.rows, features=features)
    fused = (part.fused + by_fusion * chosen).astype(np.float32)
    return replace(asked, rows=rows, compared=[SearchCandidates(rows, fused, part.pins)])


FEATURE, FUSION = (3.0, 0.0), (0.0, 3.0)
"""What tells the chosen items."""


def test_many_labels_do_not_outvote_the_people_who_search(settings: Settings):
    asked = split_world((60, *FUSION), (300, *FEATURE))
    order = choose_search_order(asked, settings, TrainOptions())
    assert (order.by_ranker, order.source) == (False, "logged")
    assert (order.compared, order.users) == (60, 60)
    assert order.high is not None and order.high < 0
    assert "on 60 held-out logged searches" in order.describe()


def test_the_ranker_orders_nothing_where_it_is_worse_on_labels(settings: Settings):
    asked = split_world((300, *FEATURE), (60, *FUSION))
    order = choose_search_order(asked, settings, TrainOptions())
    assert (order.by_ranker, order.source, order.users) == (False, "labelled", 60)
    assert order.high is not None and order.high < 0


@pytest.mark.parametrize(
    ("logged", "labelled", "by_ranker", "source"),
    [
        ((150, *FEATURE), (49, *FUSION), True, "logged"),  # too few to object
        ((49, *FUSION), (150, *FEATURE), True, "labelled"),  # too few logged to decide
        ((150, *FEATURE), (150, *FEATURE), True, "logged"),
        ((49, *FEATURE), (49, *FEATURE), False, "logged"),
    ],
    ids=["few labels", "few logged", "both", "few of both"],
)
def test_logged_searches_decide_where_there_are_enough_and_else_labels(
    settings: Settings, logged: tuple, labelled: tuple, by_ranker: bool, source: str
):
    order = choose_search_order(split_world(logged, labelled), settings, TrainOptions())
    assert (order.by_ranker, order.source) == (by_ranker, source)
    assert ("too few" in order.note) is (max(logged[0], labelled[0]) < MIN_USERS)


def test_labels_by_an_llm_decide_nothing():
    by_llm = search(1, "labelled")
    assert by_llm.can_decide
    assert not replace(by_llm, by_llm=True).can_decide
    assert search(1).can_decide
    assert not search(1, "written").can_decide


def timed(ticks: float, step: float = 1.0) -> tuple[TrainOptions, count]:
    """Options with a number of ticks; the clock moves by ``step`` whenever it is read."""
    clock = count()
    budget = TimeBudget(ticks, clock=lambda: step * next(clock))
    return TrainOptions(allowance=budget.allow("ranker", 1.0)), clock


@pytest.mark.parametrize("is_ranker", [True, False])
def test_without_time_the_generation_in_force_decides(settings: Settings, is_ranker: bool):
    for allowance in (Allowance("ranker", 0.0), timed(1e-9)[0].allowance):
        options, asked = TrainOptions(allowance=allowance), world(ask(60), 3.0, 0.0)
        in_force = SearchOrder(is_ranker, {"logged": 90}, 90, 90, 0.5, 0.4, 0.1, 0.05, 0.15)
        kept = choose_search_order(asked, settings, options, in_force)
        assert (kept.by_ranker, kept.compared, kept.ranker) == (is_ranker, 60, None)
        assert "no time" in kept.note and "in force" in kept.note
        alone = choose_search_order(asked, settings, options)
        assert (alone.by_ranker, alone.compared, alone.ranker) == (False, 60, None)
        assert "no time" in alone.note


def never_ready(settings: Settings) -> Settings:
    """Rankers that train for as long as they may."""
    endless = {"epochs": 10_000, "patience": 10_000}
    return settings.model_copy(update={"ranker": settings.ranker.model_copy(update=endless)})


def test_a_ranker_that_the_time_ended_is_not_compared_and_has_one_fold_of_the_time(
    settings: Settings,
):
    options, clock = timed(300)  # 90 for the choice, 30 for each fold
    order = choose_search_order(world(ask(60), 3.0, 0.0), never_ready(settings), options)
    assert (order.by_ranker, order.ranker) == (False, None)
    assert "no time" in order.note
    assert 30 <= next(clock) <= 50
    assert [(cut.name, cut.done) for cut in options.allowance.cuts] == [("ranker search order", 0)]


def test_a_comparison_within_its_time_is_that_without_a_budget(settings: Settings):
    asked = world(ask(60), 3.0, 0.0)
    in_time = choose_search_order(asked, settings, timed(1.0, step=0.0)[0])
    assert in_time == choose_search_order(asked, settings, TrainOptions())
    assert in_time.by_ranker and in_time.note == ""


def test_words_are_learned_in_other_folds_only():
    requests = [
        search(n, user=f"u{n}", text=("Red  shoe", "red shoe", f"x {n}")[n % 3]) for n in range(30)
    ]
    home = [LabelledQuery(Query("home"), NO_ITEMS, [])] * 5
    asked = world([*requests, *home], 1.0, 1.0)
    folds = asked.folds()
    shoes = [number for number in range(30) if number % 3 < 2]
    assert len(set(folds[shoes].tolist())) == 1  # spelled in two ways
    assert folds[30:].tolist() == [-1] * 5
    assert set(folds[:30].tolist()) == {0, 1, 2}
    for fold in range(3):
        learned = np.unique(asked.training_rows(folds, fold).group)
        assert learned.tolist() == np.flatnonzero(folds != fold).tolist()


def test_of_other_requests_an_even_share_is_learned():
    home = [LabelledQuery(Query("home"), NO_ITEMS, [])] * (3 * OTHERS)
    asked = world([*home, *ask(3)], 1.0, 1.0)
    learned = np.unique(asked.training_rows(asked.folds(), 3).group)
    assert len(learned) == OTHERS + 3
    assert learned[0] == 0 and learned[OTHERS - 1] == 3 * OTHERS - 1
    assert np.diff(learned[:OTHERS]).max() <= 4


def test_candidates_that_nobody_proposed_and_searches_without_a_gain_are_left_out():
    asked = world(ask(3), 0.0, 0.0)
    (part,) = asked.compared
    fused = part.fused.copy()
    chosen = np.flatnonzero(part.rows.labels[:, 0])
    fused[chosen[1]] = 0.0  # what the second one chose, no source proposes
    fused[chosen[0] - 1 if chosen[0] else 1] = 0.0
    found = replace(asked, compared=[replace(part, fused=fused)]).candidates()
    assert found is not None
    assert np.unique(found.rows.group).tolist() == [0, 2]
    assert (found.rows.group == 0).sum() == CANDIDATES - 1
    assert len(found.fused) == len(found.pins) == len(found.rows)


def test_exact_titles_come_first_in_both_orders(settings: Settings):
    asked = world(ask(60), 0.0, 0.0)
    (part,) = asked.compared
    pinned = replace(part, pins=part.rows.labels[:, 0] * 1_000.0)
    order = choose_search_order(replace(asked, compared=[pinned]), settings, TrainOptions())
    assert (order.ranker, order.fusion, order.difference) == (1.0, 1.0, 0.0)
    assert not order.by_ranker


def test_gains_are_the_weights_of_what_was_chosen():
    rows = world(ask(2), 0.0, 0.0).rows
    weights = np.linspace(1, 2, len(rows)).astype(np.float32)
    np.testing.assert_array_equal(
        gains_of(replace(rows, weights=weights)), weights * rows.labels[:, 0]
    )


def test_what_orders_search_is_told_in_a_sentence():
    counts = {"logged": 1_200, "labelled": 0, "written": 870}
    learned = "the ranker has learned from 1,200 logged, 0 labelled, 870 written searches"
    order = SearchOrder(True, counts, 400, 120, 0.0533, 0.0445, 0.0088, 0.0047, 0.0132)
    assert order.describe() == (
        "ordered by the ranker: on 400 held-out searches of 120 users or queries the ranker has "
        "nDCG@10 0.0533 and rank fusion 0.0445 (+0.0088, +0.0047 to +0.0132); " + learned
    )
    noted = SearchOrder(False, counts, note="there was no time")
    assert noted.describe() == f"ordered by rank fusion, as there was no time; {learned}"
    assert SearchOrder().describe() == "ordered by rank fusion, as there is no ranker"


def test_what_earlier_versions_wrote_is_not_read():
    order = SearchOrder(True, {"logged": 3}, 400, 120, 0.5, 0.4, 0.1, 0.05, 0.15)
    assert SearchOrder.read(order.as_dict()) == order
    assert SearchOrder.read(None) is None
    assert SearchOrder.read({"by_ranker": True, "searches": {}, "order_from": 200.0}) is None
    both = {name: value for name, value in order.as_dict().items() if name != "source"}
    assert SearchOrder.read(both) == order


def test_what_a_later_version_wrote_beside_is_ignored():
    order = SearchOrder(True, {"logged": 3}, 400, 120, 0.5, 0.4, 0.1, 0.05, 0.15, source="logged")
    assert SearchOrder.read({**order.as_dict(), "of_tomorrow": 3}) == order
