"""report.json: the contract of its layout, strict JSON, and numbers that can be checked by hand."""

import json

import numpy as np
import pytest
from worlds import NAMES, report_world, temporal_runs, temporal_world

from serendip.evaluate.report import document as report_module
from serendip.evaluate.report.document import json_safe
from serendip.runtime.atomic_files import write_json


def test_every_system_has_every_metric_with_n_and_an_interval():
    section = report_world()["protocols"]["temporal"]
    assert list(section["systems"]) == list(NAMES)
    for found in section["systems"].values():
        assert {"nDCG@10", "Recall@10", "MRR@10", "Novelty@10", "Coverage@10", "Gini@10"} <= {
            *found
        }
        for estimate in found.values():
            assert estimate["n"] == section["n_users"]
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_slices_partition_the_requests():
    parts = report_world()["protocols"]["temporal"]["slices"]
    assert parts["warm items"]["n_requests"] + parts["cold items"]["n_requests"] == 400


def test_an_empty_slice_has_no_users_and_null_values():
    part = report_world()["protocols"]["temporal"]["slices"]["cold users"]
    assert (part["n_users"], part["n_requests"]) == (0, 0)
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
    assert temporal_world(seed=1) != temporal_world(seed=2)


def test_no_requests_are_reported_and_not_refused():
    nothing = np.empty((0, 10), np.int32)
    runs = temporal_runs(
        relevant=[],
        users=np.array([], np.str_),
        slices={},
        lists={"engine": nothing, "popularity": nothing},
        baselines=["popularity"],
    )
    report = report_world(temporal_world(runs))
    section = report["protocols"]["temporal"]
    assert section["systems"]["engine"]["Gini@10"]["value"] is None
    assert section["comparisons"][0]["verdict"] == "too small to tell"
    assert "nothing could be judged" in report["verdict"][0]
    json.dumps(report, allow_nan=False)


def test_a_system_that_returns_nothing_has_zeros_and_no_gini():
    silent = {"engine": np.full((400, 10), -1, np.int32)}
    found = temporal_world(temporal_runs(lists=silent, baselines=()))["systems"]["engine"]
    assert found["Recall@10"]["value"] == found["Coverage@10"]["value"] == 0.0
    assert found["Gini@10"]["value"] is None
