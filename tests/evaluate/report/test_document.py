"""report.json: the contract of its layout, strict JSON, and numbers that can be checked by hand."""

import json

import numpy as np
import pytest
from worlds import ITEMS, NAMES, judged_world, protocol_world, report_world, run_world

from serendip.errors import DataError
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics import metric
from serendip.evaluate.protocol import METRICS
from serendip.evaluate.report import document as report_module
from serendip.evaluate.report.document import json_safe
from serendip.evaluate.runs import Judged, Run
from serendip.runtime.atomic_files import write_json


def test_every_system_has_every_metric_with_n_and_an_interval():
    section = report_world()["protocols"]["temporal"]
    assert list(section["systems"]) == list(NAMES)
    for found in section["systems"].values():
        assert list(found) == list(METRICS)
        for estimate in found.values():
            assert estimate["n"] == section["n_users"]
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_slices_partition_the_requests():
    parts = report_world()["protocols"]["temporal"]["slices"]
    assert parts["warm items"]["n_targets"] + parts["cold items"]["n_targets"] == 400
    assert parts["all"]["n_targets"] == 400


def test_an_empty_slice_has_no_users_and_null_values():
    part = report_world()["protocols"]["temporal"]["slices"]["cold users"]
    assert (part["n_users"], part["n_targets"]) == (0, 0)
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert part["systems"]["engine"]["nDCG@10"] == nothing


def test_every_part_of_the_report_is_described_and_filled():
    report = report_world(seed=7)
    assert all(f'"{name}"' in report_module.__doc__ for name in report)
    assert [name for name, part in report.items() if not part] == []


def test_search_is_the_surface_of_that_name_and_surfaces_have_all_their_parts():
    report = report_world()
    assert list(report["surfaces"]) == ["cart", "search", "ads"]
    assert report["search"] == report["surfaces"]["search"]
    assert report["search"]["note"] == "Written queries."
    for section in report["surfaces"].values():
        assert all(f'"{name}"' in report_module.__doc__ for name in section)
    cart = report["surfaces"]["cart"]
    assert cart["systems"]["engine"]["Recall@10"]["value"] == 0.75
    assert cart["slices"]["cold items"]["systems"]["engine"]["MRR@10"]["n"] == 2
    assert report["surfaces"]["ads"]["subject"] == ""


def test_the_slice_of_all_requests_has_the_numbers_of_the_system():
    section = report_world()["protocols"]["temporal"]
    whole = section["slices"]["all"]["systems"]["engine"]["Recall@10"]
    assert whole["value"] == section["systems"]["engine"]["Recall@10"]["value"]


def test_comparisons_equal_a_direct_comparison_of_the_runs():
    protocol = protocol_world()
    rows = report_world([protocol])["protocols"]["temporal"]["comparisons"]
    row = next(r for r in rows if r["baseline"] == "popularity" and r["metric"] == "nDCG@10")
    groups = protocol.judged.groups()
    new, old = (
        per_user(metric("nDCG@10").of_ranks(protocol.runs[row].ranks)[:, None], groups)[:, 0]
        for row in (0, 2)
    )
    direct = compare_values(("engine", "popularity", "nDCG@10"), new, old, resamples=200)
    assert row["verdict"] == direct.verdict == "better"
    for end in ("difference", "low", "high"):
        assert row[end] == pytest.approx(getattr(direct, end))


def test_means_are_per_user_and_pooled_over_cuts():
    """User a: hits at 1 of 2 targets in two cuts; user b: 1 of 1. The mean is .75, not 2/3."""
    judged = Judged(np.array([0, 1, 2], np.int32), np.array(["a", "a", "b"]), np.array([0, 1, 1]))
    lists = np.tile(np.arange(10, dtype=np.int32), (3, 1))
    run = Run("engine", lists, np.array([1.0, np.inf, 3.0]))
    protocol = protocol_world(judged=judged, runs=[run], subject="engine", baselines=(), seconds={})
    found = report_world([protocol])["protocols"]["temporal"]["systems"]["engine"]
    assert found["Recall@10"]["value"] == 0.75
    assert found["Recall@10"]["n"] == 2
    assert found["Coverage@10"]["value"] == pytest.approx(10 / ITEMS)


def test_novelty_uses_the_popularity_of_the_requests_own_cut():
    judged = Judged(np.array([0, 0], np.int32), np.array(["a", "b"]), np.array([0, 1]))
    lists = np.full((2, 10), -1, dtype=np.int32)
    lists[:, 0] = 0
    popularity = np.array([[3, 0, 0, 1], [0, 0, 0, 4]], np.int32)  # item 0: 4/8, then 1/8
    protocol = protocol_world(
        judged=judged,
        runs=[Run.of_lists("engine", lists, judged.targets)],
        popularity=popularity,
        catalogue_size=4,
        baselines=(),
        seconds={},
    )
    found = report_world([protocol])["protocols"]["temporal"]["systems"]["engine"]
    assert found["Novelty@10"]["value"] == pytest.approx((1 + 3) / 2)


def test_the_report_is_strict_json_that_reads_back_equal(tmp_path):
    report = report_world()
    write_json(tmp_path / "report.json", report)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == report


def test_values_that_json_does_not_know_become_plain_or_null():
    given = {"a": np.float32(0.5), "b": np.nan, "c": np.array([1, 2]), 4: (np.inf, np.bool_(True))}
    assert json_safe(given) == {"a": 0.5, "b": None, "c": [1, 2], "4": [None, True]}


def test_the_same_runs_and_seed_give_the_same_report():
    assert report_world() == report_world()
    assert report_world(seed=1) != report_world(seed=2)


def test_a_protocol_without_requests_is_reported_and_not_refused():
    judged = judged_world(requests=0)
    runs = [
        Run(name, np.empty((0, 10), np.int32), np.empty(0)) for name in ("engine", "popularity")
    ]
    protocol = protocol_world(
        judged=judged, runs=runs, subject="engine", baselines=("popularity",), seconds={}
    )
    report = report_world([protocol])
    section = report["protocols"]["temporal"]
    assert section["systems"]["engine"]["Gini@10"]["value"] is None
    assert section["comparisons"][0]["verdict"] == "too small to tell"
    assert "nothing could be judged" in report["verdict"][0]
    json.dumps(report, allow_nan=False)


def test_a_system_that_returns_nothing_has_zeros_and_no_gini():
    judged = judged_world()
    silent = Run("engine", np.full((400, 10), -1, np.int32), np.full(400, np.inf))
    protocol = protocol_world(judged=judged, runs=[silent], baselines=(), seconds={})
    found = report_world([protocol])["protocols"]["temporal"]["systems"]["engine"]
    assert found["Recall@10"]["value"] == found["Coverage@10"]["value"] == 0.0
    assert found["Gini@10"]["value"] is None


def test_a_run_of_another_length_is_refused():
    judged = judged_world()
    few = Judged(judged.targets[:3], judged.users[:3], judged.cuts[:3])
    short = run_world("engine", few, 300, 1, 0)
    with pytest.raises(DataError, match="answers to 400 requests"):
        protocol_world(judged=judged, runs=[short], baselines=())


def test_an_unknown_baseline_is_refused():
    with pytest.raises(DataError, match="'random' is not among"):
        protocol_world(baselines=("random",))


def test_two_runs_of_one_name_are_refused():
    protocol = protocol_world()
    with pytest.raises(DataError, match="same name"):
        protocol_world(runs=[*protocol.runs, protocol.runs[0]])
