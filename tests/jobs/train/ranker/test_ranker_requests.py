import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_world import dataset_of
from fits import fit, prepare
from small_shop import add_settings, import_shop, write_files

from serendip.data import Event, Query, QueryExamples
from serendip.data.arrays import NO_ITEMS
from serendip.data.events.repeats import Repeats
from serendip.data.query import TASKS
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, temporal
from serendip.engine.config.settings import Settings
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import score
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.labels.pair_files import JudgedQueries, with_gain
from serendip.jobs.surface_quality.requests import LabelledQuery, label_actions
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker import requests as ranker_requests
from serendip.jobs.train.ranker import rows as ranker_rows
from serendip.jobs.train.ranker.labels import require_actions
from serendip.jobs.train.ranker.requests import build_requests, label_judged, label_logged_requests
from serendip.jobs.train.ranker.rows import label_candidates
from serendip.jobs.train.ranker.train import train_ranker_on_requests
from serendip.jobs.train.train import train_workspace
from serendip.models.ranker.config import RankerConfig, SearchesConfig
from serendip.runtime.progress import StageClock, TrainOptions

Fitted = tuple[Fitter, Split, EngineState]
"""A shop fitted on the older part of its log, and the split."""

LIKED = frozenset({"interact", "like"})

NO_EXAMPLES = QueryExamples([], np.zeros((0, 3), np.float32), NO_ITEMS)

LATE = 1_700_000_000.0
"""After everything in the shop's files."""


def answered(
    user: str, time: float, shown: list[int], chosen: list[int], **more: str
) -> list[Event]:
    """A request, what it showed and what was chosen."""
    told = {"request_id": f"{user}-{time}", "surface": "home", **more}
    seen = [Event(user, f"i{number}", time, "impression", **told) for number in shown]
    return [*seen, *(Event(user, f"i{number}", time + 1, "click", **told) for number in chosen)]


EVENTS = [
    *answered("u1", 1_500_000_000.0, [1, 2], [2], query="early words", surface="search"),
    *answered("u1", LATE, [3, 4, 5], [4]),
    *answered("u2", LATE + 10, [6, 7], []),
    *answered("u3", LATE + 20, [8, 9], [9], query="comedy", surface="search"),
    *answered("u3", LATE + 30, [8, 9], [9], surface="similar"),
    *answered("u3", LATE + 40, [8, 9], [9], surface="no-such-surface"),
]


def build_rows(labelled, surface, state, settings, first_group, rng):
    rows, kept = label_candidates(labelled, surface, state, settings, first_group, rng)
    return rows.at(kept)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("shop")
    import_shop(folder)
    workspace = Workspace.open(folder)
    with workspace.open_store() as store:
        store.put_events(EVENTS)
        dataset = take_snapshot(store, workspace.settings.actions)
    fitter = Fitter(JobContext.of(workspace), folder / "scratch")
    split = temporal(dataset, 0.85)
    return fitter, split, fit(fitter, split.train, "past", TrainOptions())


HUNDRED = RankerConfig(most_requests=100)


def ids(split: Split, numbers: np.ndarray) -> list[str]:
    return sorted(split.catalogue.vocabulary.ids_of(numbers))


def label(split: Split, settings: Settings, repeats: Repeats = Repeats()):  # noqa: B008
    return label_logged_requests(split, settings, repeats, lambda texts: np.ones((len(texts), 3)))


def test_logged_requests_are_asked_as_they_were(fitted: Fitted) -> None:
    fitter, split, _ = fitted
    asked = dict(label(split, fitter.settings))
    assert set(asked) == {"home", "search"}
    first, second = asked["home"]
    assert ids(split, first.shown) == ["i3", "i4", "i5"]
    assert ids(split, first.items) == ["i4"]
    assert (first.query.user_id, first.query.time, first.query.text) == ("u1", LATE, "")
    assert len(first.query.history) == len(split.targets.past_before("u1", LATE).history)
    assert (len(second.items), ids(split, second.shown)) == (0, ["i6", "i7"])
    (search,) = asked["search"]
    assert search.query.text == "comedy"
    assert search.query.text_vector is not None
    assert first.query.text_vector is None


def test_only_what_was_shown_was_refused(fitted: Fitted) -> None:
    fitter, split, state = fitted
    asked = dict(label(split, fitter.settings))
    random = np.random.default_rng(0)
    rows = build_rows(asked["home"], "home", state, fitter.settings, 7, random)
    assert rows.group.tolist() == [7, 7, 7, 8, 8]
    shown = np.sort(asked["home"][0].shown)
    assert rows.labels[:3, 0].tolist() == [float(n in asked["home"][0].items) for n in shown]
    assert not rows.labels[3:].any()
    popularity = rows.features[:3, state.feature_names.index("log popularity")]
    np.testing.assert_allclose(popularity, np.log1p(state.counts[shown]), rtol=1e-6)


@pytest.mark.parametrize(
    ("most", "fewest_similar", "wanted"), [(30, 1, (30, 10)), (30, 20, (30, 20)), (10**6, 1, None)]
)
def test_requests_grow_with_the_newer_part_up_to_a_number(
    fitted: Fitted,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    fewest_similar: int,
    wanted: tuple[int, int] | None,
) -> None:
    _, split, state = fitted
    monkeypatch.setattr(ranker_requests, "NUM_SEARCH", fewest_similar)
    config = RankerConfig(most_requests=most)
    built = build_requests(split, NO_EXAMPLES, state.repeats, config, np.random.default_rng(0))
    asked = dict(built)
    everything = len(split.targets)
    home, similar = wanted or (everything, everything // 3)
    assert everything > 50
    assert len(asked["home"]) == home
    has_past = sum(len(split.targets.history(row)) > 0 for row in range(everything))
    assert similar - (everything - has_past) <= len(asked["similar"]) <= similar


def test_items_of_one_order_lead_to_one_another_and_are_no_negatives() -> None:
    """Orders of seven lines each, at one second: more than the next events of a moment."""
    lines = [
        (f"u{user}", f"i{line}", 100_000.0 * (1 + order) + user)
        for user in range(4)
        for order in range(3)
        for line in range(7 * order, 7 * order + 7)
    ]
    split = temporal(dataset_of(lines, [f"i{line}" for line in range(21)]), 1 / 3)
    asked = dict(build_requests(split, NO_EXAMPLES, Repeats(), HUNDRED, np.random.default_rng(0)))
    assert asked["similar"]
    orders = {(user, time): set[str]() for user, _, time in lines}
    for user, item, time in lines:
        orders[user, time].add(item)
    for labelled in asked["similar"]:
        query, names = labelled.query, split.catalogue.vocabulary
        order = orders[query.user_id, query.time]
        page, beside = names.ids_of(query.source_items), set(names.ids_of(query.exclude))
        assert set(page) < order
        assert beside < order
        assert not beside & set(names.ids_of(labelled.items))
        assert order <= beside | set(names.ids_of(labelled.items)) | set(page)


def test_without_impressions_refused_candidates_are_drawn(fitted: Fitted) -> None:
    fitter, split, state = fitted
    history = split.targets.history(0)
    one = LabelledQuery(split.targets.queries()[0], split.targets.items[:1], [LIKED])
    assert len(history)
    rows = build_rows(
        [one, replace(one, items=NO_ITEMS, actions=[])],
        "home",
        state,
        fitter.settings,
        0,
        np.random.default_rng(0),
    )
    assert set(rows.group.tolist()) <= {0}  # Of the second one nothing is known.
    assert len(rows) > 10


def test_logged_words_are_learned_up_to_the_cut(fitted: Fitted) -> None:
    fitter, split, _ = fitted
    queries = prepare(fitter, split.train).queries
    texts, items = queries.texts, queries.items
    place = list(texts).index("early words")
    assert split.train.catalogue.vocabulary.id(int(items[place])) == "i2"
    assert "comedy" not in texts[place:]
    assert len(texts) == len(queries.vectors) == place + 1


def quick(settings: Settings) -> Settings:
    """Settings of a ranker that learns little."""
    ranker = settings.ranker.model_copy(
        update={"epochs": 2, "most_requests": 40, "searches": SearchesConfig()}
    )
    return settings.model_copy(update={"ranker": ranker})


WORDS = [
    first + second for first in "bcdfghklmnpr" for second in ("alo", "ive", "une", "ost", "ax")
]
"""Sixty words that no item has, so that only "tale" finds anything."""


def judged_tales(fitter: Fitter, state: EngineState, is_noise: bool) -> JudgedQueries:
    """Sixty queries that find every item; relevant are the most popular ten, or any ten."""
    rng, popular = np.random.default_rng(0), np.argsort(-state.counts, kind="stable")[:10]
    drawn = (rng.permutation(state.num_items)[:10] if is_noise else popular for _ in WORDS)
    return with_gain(
        {
            f"tale {word}": dict.fromkeys(items.tolist(), 1.0)
            for word, items in zip(WORDS, drawn, strict=True)
        }
    )


@pytest.mark.parametrize(("is_noise", "by_llm"), [(False, False), (True, False), (False, True)])
def test_the_ranker_orders_search_where_labels_of_people_are_right_and_not_where_they_are_noise(
    fitted: Fitted, is_noise: bool, by_llm: bool
) -> None:
    """Labels by an LLM are learned from and decide nothing."""
    fitter, split, past = fitted
    state = fitter.append_new_items(past, split)
    judged = judged_tales(fitter, state, is_noise)
    vectors = fitter.context.vectors.encode(fitter.context.encoder, list(judged))
    labelled = [("search", label_judged(judged, vectors, {*judged} if by_llm else set()))]
    trained = train_ranker_on_requests(
        state, split, NO_EXAMPLES, labelled, quick(fitter.settings), TrainOptions()
    )
    assert trained is not None
    ranker, decisions = trained
    order = next(one for one in decisions if one.name == "search order")
    assert order.on is (not is_noise and not by_llm)
    assert (TASKS.index("search") in ranker.ordered_tasks) is order.on
    if by_llm:
        assert order.gain is None and "60 labelled" in order.reason
        assert order.reason.startswith("no search of people")
    else:
        assert order.n == 60 and order.low is not None
        assert (order.low > 0) is not is_noise


def test_what_was_labelled_as_irrelevant_is_refused_before_what_was_not_labelled(
    fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter, _, state = fitted
    title = state.catalogue[0].title
    vector = fitter.context.vectors.encode(fitter.context.encoder, [title])[0]
    query = Query("search", text=title, text_vector=vector)
    settings = fitter.settings
    candidates = score([query], settings.all_surfaces()["search"], state)[0].candidates
    relevant, *refused = candidates.items[:4].tolist()
    one = LabelledQuery(
        query,
        np.array([relevant], np.int32),
        [LIKED],
        weights=np.array([0.1], np.float32),
        irrelevant=np.array(refused, np.int32),
        source="labelled",
        weight=0.5,
    )
    rows = build_rows([one], "search", state, settings, 0, np.random.default_rng(0))
    assert len(rows) > 4
    monkeypatch.setattr(ranker_rows, "NEGATIVES", 3)
    rows = build_rows([one], "search", state, settings, 0, np.random.default_rng(0))
    assert rows.labels[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(rows.weights, [0.05, 0.5, 0.5, 0.5])
    popularity = rows.features[:, state.feature_names.index("log popularity")]
    counts = state.counts[[relevant, *refused]]
    np.testing.assert_allclose(popularity, np.log1p(counts), rtol=1e-6)


def test_every_request_with_a_history_knows_what_may_come_again(fitted: Fitted) -> None:
    fitter, split, state = fitted
    repeats = Repeats(after=np.zeros(state.num_items, np.float32))
    logged = label(split, fitter.settings, repeats)
    built = build_requests(split, NO_EXAMPLES, repeats, HUNDRED, np.random.default_rng(0))
    assert all(any(len(one.query.history) for one in asked) for _, asked in built)
    for surface, asked in (*built, *logged):
        queries = [one.query for one in asked]
        has_past = any(len(query.history) for query in queries)
        assert any(len(query.again) for query in queries) == has_past, surface
        for query in queries:
            past = np.unique(query.history.item_nums)
            assert query.again.tolist() == past[past >= 0].tolist()


SETTINGS = """
actions = ["interact", "like", "purchase"]

[surfaces.home]
action_weights = {interact = 0.5, purchase = 2.0}

[surfaces.ads]
sponsored = {action = "purchase"}
"""


def shop_with(folder: Path, action: str, share: float = 1.0) -> Workspace:
    """A small shop in which an action follows every rating of 4 or more in a share of its time."""
    write_files(folder)
    with (folder / "events.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    times = sorted(float(row[2]) for row in rows[1:])
    end = times[int(share * (len(times) - 1))]
    more = [
        [row[0], row[1], str(int(row[2]) + 60), action, ""]
        for row in rows[1:]
        if float(row[4]) >= 4 and float(row[2]) < end
    ]
    with (folder / "events.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([*rows, *more])
    add_settings(folder, SETTINGS)
    workspace = Workspace.open(folder)
    import_files(workspace)
    return workspace


def test_a_shop_with_purchases_trains_three_heads_and_answers_name_them(tmp_path: Path) -> None:
    workspace = shop_with(tmp_path, "purchase")
    train_workspace(JobContext(workspace))
    with Engine.open(tmp_path) as engine:
        ranker = engine.state.ranker
        assert ranker.config.actions == ("interact", "like", "purchase")
        answer = engine.recommend(Request("home", "u0", k=20, parts=True))
        for one in answer.items:
            chances = [one.parts[f"P({name})"] for name in ranker.config.actions]
            assert all(0 < chance < 1 for chance in chances)
            assert one.score == pytest.approx(0.5 * chances[0] + 2 * chances[2], abs=1e-4)
        found = engine.search("comedy", user_id="u0", parts=True).items[0]
        # Nobody has searched yet: the ranker does not order searches.
        assert "P(purchase)" not in found.parts
        told = engine.explain(Request("home", "u0"), answer.items[0].item_id).parts
        assert told["P(purchase)"] == answer.items[0].parts["P(purchase)"]


@pytest.mark.parametrize(("action", "share"), [("hide", 1.0), ("order", 1.0), ("purchase", 0.5)])
def test_an_action_that_cannot_be_learned_is_refused_before_anything_is_trained(
    tmp_path: Path, action: str, share: float
) -> None:
    workspace = shop_with(tmp_path, action, share)
    for run in (train_workspace, evaluate_workspace):
        clock = StageClock()
        words = r"newest 15% .* action 'purchase'; present: .*rate \("
        with pytest.raises(ConfigError, match=words) as refused:
            run(JobContext(workspace, clock=clock))
        assert ("order (" in refused.value.message) is (action == "order")
        assert "hide" not in refused.value.message
        assert {stage.name for stage in clock.stages} <= {"snapshot"}


def test_a_shop_without_a_ranker_may_wait_for_its_actions(tmp_path: Path) -> None:
    workspace = shop_with(tmp_path, "purchase", 0.0)
    with workspace.open_store() as store:
        dataset = temporal(take_snapshot(store, workspace.settings.actions), 0.3).train
    assert 0 < len(dataset.events) < 200
    require_actions(dataset, workspace.settings.ranker.actions)


@pytest.mark.parametrize(
    ("liked", "actions", "names"),
    [
        (True, ["purchase"], {"interact", "like", "purchase"}),
        (False, ["purchase", "click"], {"interact", "purchase", "click"}),
        (False, ["like"], {"interact"}),
        (True, [], {"interact", "like"}),
    ],
)
def test_interest_and_liking_are_derived_and_other_actions_are_those_of_the_log(
    liked: bool, actions: Sequence[str], names: set[str]
) -> None:
    assert label_actions(liked, actions) == names
