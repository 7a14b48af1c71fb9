from itertools import product
from pathlib import Path

import numpy as np
import pytest
from small_shop import add_settings, import_shop

from serendip.data.splits import temporal
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.answers import ENGINE, WORDS, ask, measure_surfaces
from serendip.jobs.surface_quality.record import (
    Column,
    QualityRecord,
    compare_records,
    describe_worst,
    read_record,
    save_record,
)
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions

BIDS = """
[surfaces.digest.min_value]
k = 4
min_items = 2
threshold = 0.0

[surfaces.shelf]
task = "home"
"""


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[JobContext, SurfaceRequestBuilder, EngineState]:
    folder = import_shop(tmp_path_factory.mktemp("shop"))
    add_settings(folder, BIDS)
    context = JobContext.open(folder, TrainOptions(seed=1))
    split = temporal(context.dataset, 0.8)
    fitter = Fitter(context, tmp_path_factory.mktemp("scratch"))
    past, _ = fit_engine(fitter, split.train, "past", context.options)
    state = fitter.append_new_items(past, split)
    return context, SurfaceRequestBuilder.of(split, split.targets, context, state, limit=20), state


def test_every_surface_has_figures_or_a_reason(measured) -> None:
    context, builder, state = measured
    countries = {"u1": "KR"}
    home = ask(builder.build_next_items("home"), builder, state, countries)
    found = measure_surfaces(builder, state, countries, home)
    figures = {one.surface: one for one in found}
    assert set(figures) == set(context.settings.all_surfaces())
    assert "No item has a bid" in figures["ads"].note
    assert "No event after the cut" in figures["cart"].note  # an hour between all events
    assert figures["similar"].subject == ENGINE
    assert figures["similar"].comparisons == []
    assert "ordered by likeness" in figures["similar"].note
    for name in ("home", "next", "search", "thank_you", "digest", "shelf"):
        assert figures[name].subject == ENGINE
        assert 0 < figures[name].n_requests <= figures[name].possible
        assert {row.baseline for row in figures[name].comparisons} == (
            set(figures[name].systems) - {ENGINE}
        )
    assert figures["home"].n_requests == len(builder.split.targets)
    assert figures["shelf"].n_requests == 20
    assert figures["search"].systems[WORDS]["Recall@10"].value > 0.3
    assert list(figures["search"].systems)[:2] == [ENGINE, WORDS]
    assert figures["home"].note == ""


USERS = 60


def record(values: np.ndarray, cold: np.ndarray | None = None, first: int = 0) -> QualityRecord:
    """One request of each user from ``first`` on; ``cold`` (T,) values of the cold items."""
    keys = np.arange(first, first + len(values), dtype=np.uint64)
    parts = {"all": values} if cold is None else {"all": values, "cold items": cold}
    columns = {part: Column(keys, keys * 7, own) for part, own in parts.items()}
    return {f"home, {part}: nDCG@10": column for part, column in columns.items()}


def noise(seed: int, scale: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, USERS)


def test_a_slice_that_fell_is_named_though_the_whole_rose() -> None:
    before = record(np.full(USERS, 0.20), np.full(USERS, 0.10) + noise(0, 0.01))
    after = record(np.full(USERS, 0.25), np.full(USERS, 0.05) + noise(1, 0.01))
    whole, cold = compare_records(after, before, margin=0.05)
    assert (whole.on, cold.on) == (True, False)
    assert whole.gain == pytest.approx(0.05)
    assert cold.gain == pytest.approx(-0.05, abs=0.005)
    text = describe_worst([whole, cold])
    assert text.startswith("home, cold items: nDCG@10 0.")
    assert "all" not in text
    assert f"{USERS} users" in text


def test_intervals_hold_for_all_comparisons_together() -> None:
    """The same loss is worse alone, and not among a hundred slices."""
    before, after = record(np.full(USERS, 0.2)), record(0.2 - 0.02 + noise(3, 0.06))
    alone = compare_records(after, before, margin=0.0)[0]
    (later,), (earlier,) = after.values(), before.values()
    many = {f"shelf{number}": later for number in range(100)}
    among = compare_records(many, dict.fromkeys(many, earlier), margin=0.0)[0]
    assert alone.gain == among.gain < 0
    assert not alone.on and among.on
    assert among.low < alone.low


def test_only_common_requests_are_compared_and_few_users_not_at_all() -> None:
    before = record(np.linspace(0, 1, USERS))
    after = record(np.linspace(0, 1, USERS)[5:], first=5)
    (change,) = compare_records(after, before, margin=0.0)
    assert (change.n, change.gain) == (USERS - 5, 0.0)
    few = record(np.zeros(USERS), first=11)
    assert compare_records(few, before, margin=0.0) == []
    assert "nothing to compare" in describe_worst([])


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = record(np.linspace(0, 1, 5), np.array([1, 0, 0.5, 0, 1]))
    save_record(written, tmp_path / "quality.npz")
    read = read_record(tmp_path / "quality.npz")
    assert list(read) == list(written)
    for name, part in product(written, ("keys", "users", "values")):
        np.testing.assert_array_equal(getattr(read[name], part), getattr(written[name], part))
    assert read_record(tmp_path / "nothing.npz") is None
    (tmp_path / "quality.npz").write_bytes(b"PK not a file")
    assert read_record(tmp_path / "quality.npz") is None
