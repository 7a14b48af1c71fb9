"""A made world where the country of a request decides: the engine finds it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.query import Query
from serendip.data.splits import Split, temporal
from serendip.engine.query_builder import QueryBuilder
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import collect
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.split import fit_without_context
from serendip.jobs.import_files import import_files
from serendip.jobs.surface_quality.answers import ENGINE, rank
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker_data import _build_requests
from serendip.runtime.progress import TrainOptions

COUNTRIES = tuple(f"country {number}" for number in range(8))
NUM_ITEMS, NUM_USERS, NUM_EVENTS = 64, 100, 10
SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title"]

[models.retriever]
embedding_size = 16
search_size = 8
epochs = 2
max_len = 10

[context]
features = ["country", "device", "hour", "weekday", "session", "category"]
"""


def write_world(folder: Path) -> Workspace:
    """Users travel: each event is in a random country, and the country alone decides the item."""
    rng = np.random.default_rng(5)
    with (folder / "items.csv").open("w", newline="") as stream:
        rows = [[f"i{number}", f"Thing {number}"] for number in range(NUM_ITEMS)]
        csv.writer(stream).writerows([["item_id", "title"], *rows])
    events = []
    for number in rng.permutation(NUM_USERS * NUM_EVENTS).tolist():
        country = int(rng.integers(len(COUNTRIES)))
        item = country + len(COUNTRIES) * int(rng.integers(NUM_ITEMS // len(COUNTRIES)))
        device = ("phone", "desktop")[int(rng.integers(2))]
        time = 1_700_000_000 + 1_800 * len(events)
        events.append([f"u{number % NUM_USERS}", f"i{item}", time, COUNTRIES[country], device])
    with (folder / "events.csv").open("w", newline="") as stream:
        header = ["user_id", "item_id", "timestamp", "country", "device"]
        csv.writer(stream).writerows([header, *events])
    (folder / "serendip.toml").write_text(SETTINGS)
    workspace = Workspace.open(folder)
    import_files(workspace)
    return workspace


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobContext, Split, EngineState]:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    context = JobContext.open(folder, TrainOptions(seed=1))
    split = temporal(context.dataset, 0.8)
    fitter = Fitter.of(context, tmp_path_factory.mktemp("scratch"))
    state = fit_engine(fitter, split.train, "past", context.options)
    return context, split, fitter.append_new_items(state, split)


def ndcg(lists: np.ndarray, targets: np.ndarray) -> float:
    """Mean of 1 / log2(1 + rank) of the targets in lists of ten."""
    hits = lists == targets[:, None]  # (T, 10)
    return float((hits / np.log2(np.arange(2, 12))).sum(1).mean())


def test_the_engine_is_at_least_twice_as_good_as_without_context(fitted, tmp_path):
    context, split, state = fitted
    home, queries = context.settings.all_surfaces()["home"], split.targets.queries()
    plain = fit_without_context(Fitter.of(context, tmp_path), split, context.options)
    assert not plain.context.has_any
    found = ndcg(rank(queries, home, state)[1][ENGINE], split.targets.items)
    before = ndcg(rank(queries, home, plain)[1][ENGINE], split.targets.items)
    assert found >= 2 * before > 0


def test_answers_differ_by_country_and_are_of_it(fitted):
    context, _, state = fitted
    home = context.settings.all_surfaces()["home"]
    queries = [Query("home", country=country, time=1.8e9) for country in COUNTRIES]
    lists = rank(queries, home, state)[1][ENGINE]
    ids = [state.catalogue.vocabulary.ids_of(row) for row in lists]
    for number, row in enumerate(ids):
        assert [int(item_id[1:]) % len(COUNTRIES) for item_id in row[:8]] == [number] * 8


def test_rows_of_training_and_requests_have_the_same_values(fitted, monkeypatch):
    """What the ranker learns from a moment is what the service computes at that moment."""
    context, split, state = fitted
    settings, rng = context.settings, np.random.default_rng(0)
    home = settings.all_surfaces()["home"]
    (_, labelled), *_ = _build_requests(split, None, rng)
    store = context.workspace.open_store()
    rows = [row for row in range(len(split.targets))][:20]
    moments = {float(split.targets.times[row]): row for row in rows}
    chosen = [one for one in labelled if one.query.time in moments]
    assert len(chosen) == 20
    for one in chosen:
        row = moments[one.query.time]
        builder = QueryBuilder(
            context.encoder,
            state.fusion,
            store,
            settings.actions,
            settings.all_surfaces(),
            lambda: one.query.time,  # noqa: B023
        )
        asked = Request(
            "home", split.targets.users[row], country=one.query.country, device=one.query.device
        )
        served = builder.build(state, asked)
        served = replace(served, history=served.history.before(one.query.time))
        pairs = [collect([query], home, state) for query in (one.query, served)]
        (learned, first), (shown, second) = pairs
        np.testing.assert_array_equal(learned.items, shown.items)
        np.testing.assert_array_equal(first, second)
        named = first[:, state.feature_names.index("country fit")]
        assert np.isfinite(named).all()
    store.close()
