import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data import History, Query, QueryExamples
from serendip.data.arrays import NO_ITEMS
from serendip.data.splits import Split, temporal
from serendip.engine.config.settings import Settings
from serendip.engine.query_builder import QueryBuilder
from serendip.engine.request import Request
from serendip.engine.stages.pipeline import score
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.surface_quality.answers import answer_engine
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker import choices, sample
from serendip.jobs.train.ranker.requests import build_requests
from serendip.models.context_counts import ContextConfig
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

[ranker.searches]
written = 0

[context]
use = "on"
parts.user = "off"
"""


def write_world(folder: Path) -> Workspace:
    """Users travel: each event is in a random country, and the country alone decides the item."""
    rng = np.random.default_rng(5)
    with (folder / "items.csv").open("w", newline="") as stream:
        rows = [
            [
                f"i{number}",
                f"Thing {number}",
                1 + number % 7,
                COUNTRIES[number % 3],
                86_400 * number,
            ]
            for number in range(NUM_ITEMS)
        ]
        header = ["item_id", "title", "price", "country", "available_from"]
        csv.writer(stream).writerows([header, *rows])
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


NO_EXAMPLES = QueryExamples([], np.zeros((0, 1), np.float32), NO_ITEMS)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobContext, Split, EngineState]:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    context = JobContext.open(folder, TrainOptions(seed=1))
    split = temporal(context.dataset, 0.8)
    fitter = Fitter(context, tmp_path_factory.mktemp("scratch"))
    state, _ = fit_engine(fitter, split.train, "past", context.options)
    return context, split, fitter.append_new_items(state, split)


def fitter_with(context: JobContext, settings: Settings, scratch: Path) -> Fitter:
    workspace = replace(context.workspace, settings=settings)
    return Fitter(replace(context, workspace=workspace), scratch)


def ndcg(lists: np.ndarray, targets: np.ndarray) -> float:
    """Mean of 1 / log2(1 + rank) of the targets in lists of ten."""
    hits = lists == targets[:, None]  # (T, 10)
    return float((hits / np.log2(np.arange(2, 12))).sum(1).mean())


@pytest.fixture(scope="module")
def plain(fitted, tmp_path_factory: pytest.TempPathFactory) -> EngineState:
    context, split, _ = fitted
    settings = context.settings.model_copy(update={"context": ContextConfig(use="off")})
    fitter = fitter_with(context, settings, tmp_path_factory.mktemp("plain"))
    state, _ = fit_engine(fitter, split.train, "without-context", context.options)
    return fitter.append_new_items(state, split)


def home_ndcg(fitted, state: EngineState) -> float:
    """nDCG@10 of home over the targets of the world."""
    context, split, _ = fitted
    home, queries = context.settings.all_surfaces()["home"], split.targets.queries()
    return ndcg(answer_engine(queries, home, state), split.targets.items)


def test_the_training_finds_that_the_country_decides(fitted, plain, monkeypatch, tmp_path):
    monkeypatch.setattr(choices, "MIN_REQUESTS", 30)
    monkeypatch.setattr(sample, "FEWEST", 20)
    context, split, _ = fitted
    chosen = context.settings.context.model_copy(update={"use": "auto", "parts": {}})
    settings = context.settings.model_copy(update={"context": chosen})
    fitter = fitter_with(context, settings, tmp_path)
    state, _ = fit_engine(fitter, split.train, "past", context.options)
    assert "country" in state.context.present
    assert "device" not in state.context.present
    assert state.ranker.feature_names == state.feature_names
    assert not {"device fit", "hour fit"} & {*state.feature_names}
    state = fitter.append_new_items(state, split)
    assert home_ndcg(fitted, state) >= 2 * home_ndcg(fitted, plain)


def test_rows_of_training_and_requests_have_the_same_values(fitted, monkeypatch):
    """What the ranker learns from a moment is what the service computes at that moment."""
    context, split, state = fitted
    settings, rng = context.settings, np.random.default_rng(0)
    home = settings.all_surfaces()["home"]
    (_, labelled), *_ = build_requests(split, NO_EXAMPLES, state.repeats, settings.ranker, rng)
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
        before = served.history.before(one.query.time)
        served = replace(served, history=before, again=one.query.again)
        scored = [score([query], home, state)[0] for query in (one.query, served)]
        pairs = [(one.candidates, one.features) for one in scored]
        (learned, first), (shown, second) = pairs
        np.testing.assert_array_equal(learned.items, shown.items)
        np.testing.assert_array_equal(first, second)
        named = first[:, state.feature_names.index("country fit")]
        assert np.isfinite(named).all()
    store.close()


def test_features_of_session_price_category_age_and_country_are_exact(fitted):
    context, _, state = fitted
    now, past = 1.8e9, np.array([3, 9, 9, 20], np.int32)
    times = np.array([now - 9e5, now - 1_801, now - 1_800, now - 60])
    history = History(past, times, np.zeros(4, np.bool_))
    query = Query("home", history=history, time=now, country=COUNTRIES[1])
    home = context.settings.all_surfaces()["home"]
    scored, _ = score([query], home, state)
    candidates, features = scored.candidates, scored.features
    columns = dict(zip(state.feature_names, features.T, strict=True))
    items, content = candidates.items, state.features.content
    numbers = np.array([int(name[1:]) for name in state.catalogue.vocabulary.ids_of(items)])
    of_past = state.catalogue.vocabulary.ids_of(past)
    prices = np.array([1 + int(name[1:]) % 7 for name in of_past])
    near = content[items] @ content[past[2:]].mean(0)
    np.testing.assert_allclose(columns["session cosine"], near, rtol=1e-5, atol=1e-6)
    before = content[items] @ content[past[:2]].mean(0)
    np.testing.assert_allclose(columns["earlier past cosine"], before, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(columns["log session length"], np.log(3), rtol=1e-6)
    codes = state.features.codes[:, 0]
    shares = [(codes[past] == code).mean() for code in codes[items]]
    np.testing.assert_allclose(columns["category share"], shares, rtol=1e-6)
    own = np.log(1 + numbers % 7)
    np.testing.assert_allclose(columns["log price"], own, rtol=1e-6)
    above = own - np.log(prices).mean()
    np.testing.assert_allclose(columns["log price above usual"], above, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(columns["log age"], np.log1p(now / 86_400 - numbers), rtol=1e-6)
    np.testing.assert_array_equal(columns["item of the country"], numbers % 3 == 1)
