from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from small_shop import import_shop

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.arrays import NO_ITEMS
from serendip.data.dataset import QueryExamples
from serendip.data.event import Event
from serendip.data.query import TASKS
from serendip.data.repeats import Repeats
from serendip.data.snapshot import take_snapshot
from serendip.data.splits import Split, temporal
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.train import ranker_data
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker_data import (
    _build_requests,
    _with_repeats,
    label_logged_requests,
    train_ranker,
)
from serendip.jobs.train.ranker_rows import LabelledQuery, build_rows
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock

LIKED = frozenset({"interact", "like"})

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


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitter, Split, EngineState]:
    folder = tmp_path_factory.mktemp("shop")
    import_shop(folder)
    workspace = Workspace.open(folder)
    with closing(workspace.open_store()) as store:
        store.put_events(EVENTS)
        dataset = take_snapshot(store, workspace.settings.actions)
    encoder, cache = open_encoder(workspace.settings.content), VectorCache(workspace.cache)
    fitter = Fitter(workspace.settings, encoder, cache, folder / "scratch", StageClock())
    split = temporal(dataset, 0.85)
    return fitter, split, fitter.fit_sources(split.train, "past", TrainOptions())


def ids(split: Split, numbers: np.ndarray) -> list[str]:
    return sorted(split.catalogue.vocabulary.ids_of(numbers))


def test_logged_requests_are_asked_as_they_were(
    fitted: tuple[Fitter, Split, EngineState],
) -> None:
    fitter, split, _ = fitted
    asked = dict(
        label_logged_requests(split, fitter.settings, lambda texts: np.ones((len(texts), 3)))
    )
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


def test_only_what_was_shown_was_refused(fitted: tuple[Fitter, Split, EngineState]) -> None:
    fitter, split, state = fitted
    asked = dict(
        label_logged_requests(split, fitter.settings, lambda texts: np.ones((len(texts), 3)))
    )
    random = np.random.default_rng(0)
    rows = build_rows(asked["home"], "home", state, fitter.settings, 7, random)
    assert rows.group.tolist() == [7, 7, 7, 8, 8]
    shown = np.sort(asked["home"][0].shown)
    assert rows.labels[:3, 0].tolist() == [float(n in asked["home"][0].items) for n in shown]
    assert not rows.labels[3:].any()
    popularity = rows.features[:3, state.feature_names.index("log popularity")]
    np.testing.assert_allclose(popularity, np.log1p(state.counts[shown]), rtol=1e-6)


def test_rows_of_a_batch_are_those_of_one_request_at_a_time(
    fitted: tuple[Fitter, Split, EngineState], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter, split, past = fitted
    for module in ("content_similarity", "retriever.model"):  # items are found by an index
        monkeypatch.setattr(f"serendip.models.{module}.EXACT_UP_TO", 10)
    state = fitter.append_new_items(past, split)
    requests = _build_requests(split, None, state.repeats, 100, np.random.default_rng(1))
    for surface, labelled in requests:
        chosen = labelled[:40]
        together = build_rows(chosen, surface, state, fitter.settings, 0, np.random.default_rng(2))
        rng = np.random.default_rng(2)
        alone = [
            build_rows([one], surface, state, fitter.settings, group, rng)
            for group, one in enumerate(chosen)
        ]
        for name in ("task", "labels", "weights", "group"):
            joined = np.concatenate([getattr(part, name) for part in alone])
            np.testing.assert_array_equal(getattr(together, name), joined)
        features = np.concatenate([part.features for part in alone])
        np.testing.assert_allclose(together.features, features, rtol=1e-4, atol=1e-5)
        assert len(features) > 100


@pytest.mark.parametrize(
    ("most", "fewest_similar", "wanted"), [(30, 1, (30, 10)), (30, 20, (30, 20)), (10**6, 1, None)]
)
def test_requests_grow_with_the_newer_part_up_to_a_number(
    fitted: tuple[Fitter, Split, EngineState],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    fewest_similar: int,
    wanted: tuple[int, int] | None,
) -> None:
    _, split, state = fitted
    monkeypatch.setattr(ranker_data, "NUM_SEARCH", fewest_similar)
    asked = dict(_build_requests(split, None, state.repeats, most, np.random.default_rng(0)))
    everything = len(split.targets)
    home, similar = wanted or (everything, everything // 3)
    assert everything > 50
    assert len(asked["home"]) == home
    has_past = sum(len(split.targets.history(row)) > 0 for row in range(everything))
    assert similar - (everything - has_past) <= len(asked["similar"]) <= similar


def test_few_users_are_not_asked_more_and_more(
    fitted: tuple[Fitter, Split, EngineState], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, split, state = fitted
    users, everything = len(set(split.targets.users)), len(split.targets)
    assert 1 < users < everything
    monkeypatch.setattr(ranker_data, "HOME_PER_USER", 1)
    for fewest, wanted in ((1, users), (everything - 1, everything - 1), (10**6, everything)):
        monkeypatch.setattr(ranker_data, "FEWEST_HOME", fewest)
        asked = dict(_build_requests(split, None, state.repeats, 10**6, np.random.default_rng(0)))
        assert len(asked["home"]) == wanted


def test_without_impressions_refused_candidates_are_drawn(
    fitted: tuple[Fitter, Split, EngineState],
) -> None:
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


def test_logged_words_are_learned_up_to_the_cut(fitted: tuple[Fitter, Split, EngineState]) -> None:
    fitter, split, _ = fitted
    prepared = fitter.prepare(split.train, TrainOptions())
    assert prepared.dataset.queries is not None
    texts, items = prepared.dataset.queries.texts, prepared.dataset.queries.items
    place = list(texts).index("early words")
    assert split.train.catalogue.vocabulary.id(int(items[place])) == "i2"
    assert "comedy" not in texts[place:]
    assert len(texts) == len(prepared.dataset.queries.vectors) == place + 1


def test_a_ranker_learns_from_logged_requests(fitted: tuple[Fitter, Split, EngineState]) -> None:
    fitter, split, _ = fitted
    assert fit_engine(fitter, split.train, "whole", TrainOptions()).ranker is not None


@pytest.mark.parametrize("fewest", [1, 2])
def test_search_is_put_in_order_by_a_ranker_that_has_seen_people_search(
    fitted: tuple[Fitter, Split, EngineState], monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    # The newer part has one search that led to a choice.
    monkeypatch.setattr(ranker_data, "MIN_SEARCHES", fewest)
    fitter, split, state = fitted
    nothing = QueryExamples([], np.zeros((0, 3), np.float32), NO_ITEMS)
    settings = fitter.settings.model_copy(
        update={
            "ranker": fitter.settings.ranker.model_copy(update={"epochs": 1, "most_requests": 40})
        }
    )
    encoder = fitter.encoder
    logged = label_logged_requests(
        split, settings, lambda texts: fitter.cache.encode(encoder, texts)
    )
    found = train_ranker(state, split, nothing, logged, settings, TrainOptions())
    assert found is not None
    known = [TASKS[number] for number in found.ranker.ordered_tasks]
    assert known == (["home", "similar", "search"] if fewest == 1 else ["home", "similar"])


def test_every_request_with_a_history_knows_what_may_come_again(
    fitted: tuple[Fitter, Split, EngineState],
) -> None:
    fitter, split, state = fitted
    repeats = Repeats(after=np.zeros(state.num_items, np.float32))
    logged = label_logged_requests(split, fitter.settings, lambda texts: np.ones((len(texts), 3)))
    built = _build_requests(split, None, repeats, 100, np.random.default_rng(0))
    assert all(any(len(one.query.history) for one in asked) for _, asked in built)
    for surface, asked in (*built, *_with_repeats(logged, repeats)):
        queries = [one.query for one in asked]
        has_past = any(len(query.history) for query in queries)
        assert any(len(query.again) for query in queries) == has_past, surface
        for query in queries:
            past = np.unique(query.history.item_nums)
            assert query.again.tolist() == past[past >= 0].tolist()


def test_every_configured_action_is_a_column_of_labels(
    fitted: tuple[Fitter, Split, EngineState],
) -> None:
    fitter, split, state = fitted
    actions = ("click", "interact", "rate", "like")
    ranker = fitter.settings.ranker.model_copy(update={"actions": actions})
    settings = fitter.settings.model_copy(update={"ranker": ranker})
    asked = dict(label_logged_requests(split, settings, lambda texts: np.ones((len(texts), 3))))
    rows = build_rows(asked["home"], "home", state, settings, 0, np.random.default_rng(0))
    chosen = np.isin(np.sort(asked["home"][0].shown), asked["home"][0].items)
    np.testing.assert_array_equal(
        rows.labels[:3], np.column_stack([chosen, chosen, 0 * chosen, 0 * chosen])
    )
    moments = dict(_build_requests(split, None, state.repeats, 100, np.random.default_rng(0)))[
        "home"
    ]
    assert {"rate", "interact"} in [done for one in moments for done in one.actions]
    assert {"rate", "interact", "like"} in [done for one in moments for done in one.actions]
