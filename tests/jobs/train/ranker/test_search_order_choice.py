from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from serendip.data import Query, QueryExamples, Vocabulary
from serendip.data.arrays import NO_ITEMS
from serendip.data.query import TASKS
from serendip.engine.config.settings import Settings
from serendip.errors import DataError
from serendip.evaluate.decision import FEWEST, Decision
from serendip.jobs.labels.pair_files import with_gain
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.jobs.train.ranker.choices import choose_search_order, deal_folds
from serendip.jobs.train.ranker.requests import (
    label_judged,
    read_judged_files,
    read_queries_by_llm,
    write_searches,
)
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.jobs.train.ranker.sample import OTHERS, RankerSample, even_share
from serendip.models.ranker.config import RankerRows, SearchSource
from serendip.runtime.budget import Allowance, open_budget
from serendip.runtime.progress import TrainOptions

NAMES = ("told", "random")
CANDIDATES = 30


class World(NamedTuple):
    sample: RankerSample
    compared: SearchCandidates

    def choose(self, settings: Settings, options: TrainOptions | None = None) -> Decision:
        return choose_search_order(*self, settings, options or TrainOptions())


def quick(settings: Settings) -> Settings:
    ranker = settings.ranker.model_copy(update={"epochs": 4, "hidden_size": 16})
    return settings.model_copy(update={"ranker": ranker})


@pytest.fixture
def settings() -> Settings:
    return quick(Settings())


def search(number: int, source: SearchSource = "logged", user: str = "", text: str = ""):
    text = text or f"words {number}"
    query = Query("search", text=text, user_id=user)
    return LabelledQuery(query, NO_ITEMS, [], source=source)


def world(requests: list[LabelledQuery], told: float, by_fusion: float, seed: int = 0) -> World:
    """Searches with one chosen item of 30: the feature ``told`` and fusion tell it so well."""
    rng, count = np.random.default_rng(seed), len(requests) * CANDIDATES
    chosen = np.zeros((len(requests), CANDIDATES), np.bool_)
    chosen[np.arange(len(requests)), rng.integers(CANDIDATES, size=len(requests))] = True
    labels = np.repeat(chosen.reshape(-1, 1), 2, axis=1).astype(np.float32)
    features = rng.normal(size=(count, 2)).astype(np.float32)
    features[:, 0] += told * labels[:, 0]
    fused = 10.0 + rng.normal(size=count) + by_fusion * labels[:, 0]
    group = np.repeat(np.arange(len(requests)), CANDIDATES)
    tasks = np.array([TASKS.index(one.query.task) for one in requests])
    columns = features, tasks[group], labels, np.ones(count, np.float32), group
    of_people = np.array([one.source in ("logged", "labelled") for one in requests])[group]
    compared = SearchCandidates(*columns, fused.astype(np.float32), np.zeros(count, np.float32))
    return World(RankerSample(RankerRows(*columns), NAMES, requests), compared.at(of_people))


def ask(count: int, source: SearchSource = "logged") -> list[LabelledQuery]:
    return [search(number, source, f"u{number}") for number in range(count)]


def test_the_ranker_orders_search_where_it_finds_more_of_what_was_chosen(settings: Settings):
    found = world(ask(150), 3.0, 0.5).choose(settings)
    assert (found.name, found.on, found.n) == ("search order", True, 150)
    assert found.low is not None and found.low > 0
    assert found.reason.endswith("learned from 150 logged, 0 labelled, 0 written searches")


@pytest.mark.parametrize(
    ("told", "by_fusion"), [(0.0, 0.0), (0.5, 3.0)], ids=["noise", "fusion is better"]
)
@pytest.mark.parametrize("source", ["logged", "labelled"])
def test_sources_stay_fused_where_nothing_tells_or_fusion_tells_more(
    settings: Settings, told: float, by_fusion: float, source: SearchSource
):
    found = world(ask(150, source), told, by_fusion).choose(settings)
    assert not found.on
    assert found.low is not None and found.low < 0


@pytest.mark.parametrize(
    ("requests", "users", "reason"),
    [
        ([search(n, user=f"u{n % (FEWEST - 1)}") for n in range(200)], 29, "fewer than 30"),
        ([search(n, "labelled", text=f"same {n % 29}") for n in range(200)], 29, "fewer than 30"),
        ([search(n, user=f"u{n}", text="Same") for n in range(60)], 0, "the same words"),
        (ask(150, "written"), 0, "no search of people can be compared on"),
    ],
    ids=["few users", "few queries", "one query", "written queries"],
)
def test_with_few_users_or_queries_nothing_is_compared(
    settings: Settings, requests: list[LabelledQuery], users: int, reason: str
):
    found = world(requests, 3.0, 0.0).choose(settings)
    assert (found.on, found.gain, found.n) == (False, None, users)
    assert reason in found.reason


def split_world(logged: tuple[int, float, float], labelled: tuple[int, float, float]) -> World:
    """Logged and labelled searches, of each a number, and how well feature and fusion tell."""
    requests = [*ask(logged[0]), *(search(1_000 + n, "labelled") for n in range(labelled[0]))]
    sample, part = world(requests, 0.0, 0.0)
    is_logged = part.group < logged[0]
    told, by_fusion = (np.where(is_logged, logged[n], labelled[n]) for n in (1, 2))
    features, chosen = part.features.copy(), part.labels[:, 0]
    features[:, 0] += told * chosen
    fused = (part.fused + by_fusion * chosen).astype(np.float32)
    rows = replace(sample.rows, features=features)  # all are searches of people
    return World(replace(sample, rows=rows), replace(part, features=features, fused=fused))


FEATURE, FUSION = (3.0, 0.0), (0.0, 3.0)
"""What tells the chosen items."""


@pytest.mark.parametrize(
    ("logged", "labelled", "on", "source", "users"),
    [
        ((60, *FUSION), (300, *FEATURE), False, "logged", 60),  # labels outvote nobody
        ((300, *FEATURE), (60, *FUSION), False, "labelled", 60),  # and object
        ((150, *FEATURE), (29, *FUSION), True, "logged", 150),  # too few to object
        ((29, *FUSION), (150, *FEATURE), True, "labelled", 150),  # too few logged to decide
        ((150, *FEATURE), (150, *FEATURE), True, "logged", 150),
        ((29, *FEATURE), (28, *FEATURE), False, "logged", 29),
    ],
    ids=["many labels", "against", "few labels", "few logged", "both", "few of both"],
)
def test_logged_searches_decide_where_there_are_enough_and_else_labels(
    settings: Settings, logged: tuple, labelled: tuple, on: bool, source: str, users: int
):
    found = split_world(logged, labelled).choose(settings)
    assert (found.on, found.n) == (on, users)
    assert f"{source} searches" in found.reason.split(";")[0]


def timed(ticks: float, step: float = 1.0) -> tuple[TrainOptions, count]:
    """Options with a number of ticks; the clock moves by ``step`` whenever it is read."""
    clock = count()
    budget = open_budget(ticks, clock=lambda: step * next(clock))
    return TrainOptions(allowance=budget.from_now(1.0, "ranker")), clock


def test_without_time_nothing_is_compared(settings: Settings):
    for allowance in (Allowance("ranker", 0.0), timed(1e-9)[0].allowance):
        found = world(ask(60), 3.0, 0.0).choose(settings, TrainOptions(allowance=allowance))
        assert (found.on, found.gain) == (False, None)
        assert "no time" in found.reason


def never_ready(settings: Settings) -> Settings:
    endless = {"epochs": 10_000, "patience": 10_000}
    return settings.model_copy(update={"ranker": settings.ranker.model_copy(update=endless)})


def test_a_ranker_that_the_time_ended_is_not_compared_and_has_one_fold_of_the_time(
    settings: Settings,
):
    options, clock = timed(300)  # 90 for the choice, 30 for each fold
    found = world(ask(60), 3.0, 0.0).choose(never_ready(settings), options)
    assert (found.on, found.gain) == (False, None)
    assert "no time" in found.reason
    assert 30 <= next(clock) <= 50
    assert [(cut.name, cut.done) for cut in options.allowance.cuts] == [("ranker search order", 0)]


def test_equal_words_share_a_fold_and_other_requests_have_none():
    words = ("Red  shoe", "red shoe", "x")
    requests = [search(n, text=f"{words[n % 3]}{n if n % 3 == 2 else ''}") for n in range(30)]
    folds = deal_folds([*requests, *[LabelledQuery(Query("home"), NO_ITEMS, [])] * 5])
    shoes = [number for number in range(30) if number % 3 < 2]
    assert len(set(folds[shoes].tolist())) == 1  # spelled in two ways
    assert folds[30:].tolist() == [-1] * 5
    assert set(folds[:30].tolist()) == {0, 1, 2}


def test_of_other_requests_an_even_share_is_learned():
    wanted = np.append(np.ones(3 * OTHERS, np.bool_), False)
    kept = np.flatnonzero(even_share(wanted))
    assert (len(kept), kept[0], kept[-1]) == (OTHERS, 0, 3 * OTHERS - 1)
    assert np.diff(kept).max() <= 4
    assert even_share(np.array([False, True])).tolist() == [False, True]


def test_exact_titles_come_first_in_both_orders(settings: Settings):
    sample, part = world(ask(60), 0.0, 0.0)
    pinned = replace(part, pins=part.labels[:, 0] * 1_000.0)
    found = World(sample, pinned).choose(settings)
    assert (found.on, found.without, found.gain) == (False, 1.0, 0.0)


def test_written_queries_have_their_weight_and_are_none_at_0() -> None:
    examples = QueryExamples(["a", "b"], np.ones((2, 4), np.float32), np.array([1, 2], np.int32))
    for weight, expected in ((0.5, 2), (0.0, 0)):
        found = write_searches(examples, [], 9, weight, np.random.default_rng(0))
        assert [one.weight for one in found] == [weight] * expected


def test_labelled_queries_have_relevant_items_by_grade_and_irrelevant_ones() -> None:
    judged = with_gain({"kettle": {3: 0.1, 5: 0.0, 1: 1.0}, "nothing": {2: 0.0}})
    (one,) = label_judged(judged, np.ones((1, 4), np.float32))
    assert (one.query.text, one.source) == ("kettle", "labelled")
    assert one.items.tolist() == [1, 3]
    np.testing.assert_allclose(one.weights, [1.0, 0.1])
    assert one.irrelevant.tolist() == [5]
    assert label_judged({}, np.ones((0, 4), np.float32)) == []


def test_of_two_labels_of_a_pair_that_of_the_later_file_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "llm.csv", tmp_path / "people.csv"
    first.write_text(
        "query,item_id,label\nlamp,a,good\nlamp,b,good\nrug,c,good\nrug,d,good\nshoe,a,good\n"
    )
    second.write_text("query,item_id,label\nlamp,b,bad\nlamp,a,good\nshoe,a,bad\n")
    judged = read_judged_files([first, second], Vocabulary(["a", "b", "c"]))
    assert judged == {
        "lamp": {0: 1.0, 1: 0.0},
        "rug": {2: 1.0},
    }  # nothing is relevant to "shoe"
    sample = read_judged_files([first, second], Vocabulary(["a", "b", "c"]), most=1)
    assert len(sample) == 1
    assert sample.keys() <= judged.keys()
    assert len(read_judged_files([], Vocabulary(["a"]))) == 0
    with pytest.raises(DataError, match=r"no-such\.csv"):
        read_judged_files([tmp_path / "no-such.csv"], Vocabulary(["a"]))


def test_all_queries_of_a_file_that_names_a_model_are_of_an_llm(tmp_path: Path) -> None:
    by_llm, people = tmp_path / "llm.csv", tmp_path / "people.csv"
    by_llm.write_text("query,item_id,label,model\nlamp,a,good,m\nrug,a,bad,\n")
    people.write_text("query,item_id,label,model\nlamp,a,good,\nsofa,a,good,\n")
    assert read_queries_by_llm([by_llm, people]) == {"lamp", "rug"}
    assert read_queries_by_llm([people]) == set()
