"""Plots put values where their scales say."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from serendip.evaluate.report.plots import bars, exposure, quality_and_cost, slice_dots

GOOD = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 200}
POOR = {"value": 0.1, "low": 0.05, "high": 0.2, "n": 200}
MISSING = {"value": None, "low": None, "high": None, "n": 0}
LEFT, RIGHT, TOP, BOTTOM = 38.0, 348.0, 10.0, 210.0
"""Plot area of ``quality_and_cost``."""


def _elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(tag)


def _dots(svg: str) -> list[tuple[float, float, str]]:
    return [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]), dot.attrib["class"])
        for dot in _elements(svg, "circle")
    ]


def _texts(svg: str) -> dict[str, tuple[float, float]]:
    return {
        text.text or "": (float(text.attrib["x"]), float(text.attrib["y"]))
        for text in _elements(svg, "text")
    }


def test_costs_are_on_a_logarithmic_scale_from_the_power_below_to_the_power_above() -> None:
    svg = quality_and_cost("nDCG@10", [("engine", 100.0, GOOD), ("kNN", 1.0, POOR)], "engine")

    assert _dots(svg) == [(RIGHT, 50.0, "subject"), (LEFT, 170.0, "other")]
    texts = _texts(svg)
    assert [texts[power] for power in ("1", "10", "100")] == [
        (LEFT, BOTTOM + 17),
        ((LEFT + RIGHT) / 2, BOTTOM + 17),
        (RIGHT, BOTTOM + 17),
    ]
    ticks = [
        float(line.attrib["x1"])
        for line in _elements(svg, "line")
        if line.attrib["class"] == "axis" and line.attrib["x1"] == line.attrib["x2"]
    ]
    assert ticks == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    assert (texts["0"][1], texts["0.25"][1], texts["0.5"][1]) == (214.0, 114.0, 14.0)


def test_whiskers_span_the_interval() -> None:
    svg = quality_and_cost("nDCG@10", [("engine", 10.0, GOOD)], "engine")

    (whisker,) = [line for line in _elements(svg, "line") if line.attrib["class"] == "whisker"]
    assert (float(whisker.attrib["y1"]), float(whisker.attrib["y2"])) == (90.0, TOP)


def test_a_single_cost_has_a_scale_of_one_power() -> None:
    svg = quality_and_cost("nDCG@10", [("engine", 10.0, GOOD)], "engine")

    assert {"10", "100"} <= _texts(svg).keys()
    assert _dots(svg)[0][0] == LEFT


def test_systems_without_a_value_are_left_out_of_the_costs() -> None:
    svg = quality_and_cost("nDCG@10", [("engine", 10.0, MISSING)], "engine")

    assert not _dots(svg)
    assert "No system has both a value and a cost." in _texts(svg)


def test_labels_of_equal_points_lie_13_apart() -> None:
    svg = quality_and_cost("nDCG@10", [("one", 1.0, GOOD), ("two", 1.0, GOOD)], "one")

    texts = _texts(svg)
    assert (texts["one"][1], texts["two"][1]) == (54.0, 67.0)


def test_a_label_that_does_not_fit_ends_left_of_its_point() -> None:
    svg = quality_and_cost("nDCG@10", [("engine", 100.0, GOOD), ("kNN", 1.0, POOR)], "engine")

    texts = _texts(svg)
    assert texts["engine"][0] == RIGHT - 9
    assert texts["kNN"][0] == LEFT + 9


def test_bars_are_as_long_as_their_share_of_the_largest_upper_end() -> None:
    svg = bars("nDCG@10", [("engine", GOOD), ("kNN", POOR), ("none", MISSING)], "engine")

    widths = {
        bar.attrib["class"]: float(bar.attrib["width"])
        for bar in _elements(svg, "rect")
        if bar.attrib["class"] != "track"
    }
    assert widths == {"subject": pytest.approx(288.0), "other": pytest.approx(72.0)}
    assert "no users" in _texts(svg)


def test_slices_have_a_dot_per_system_with_a_value() -> None:
    rows = [
        ("cold", "5 users", {"engine": GOOD, "kNN": MISSING}),
        ("tail", "7 users", {"engine": POOR, "kNN": GOOD}),
    ]

    svg = slice_dots("Recall@10", rows)

    legend = 2
    dots = _dots(svg)[legend:]
    assert [(x, style) for x, _, style in dots] == [
        (288.0, "fill t0"),
        (72.0, "fill t0"),
        (288.0, "fill t1"),
    ]


def test_exposure_draws_the_log_and_every_system_from_the_first_share_to_all() -> None:
    curve = {"catalogue": [0.01, 0.1, 1.0], "train": [0.2, 0.6, 1.0], "systems": {"kNN": [0, 0, 1]}}

    svg = exposure(curve)

    paths = {
        path.attrib["class"]: re.findall(r"[\d.]+ [\d.]+", path.attrib["d"])
        for path in _elements(svg, "path")
        if path.find("title") is not None
    }
    assert paths == {
        "curve train": ["38.0 170.0", "193.0 90.0", "348.0 10.0"],
        "curve t0": ["38.0 210.0", "193.0 210.0", "348.0 10.0"],
    }
    assert {"1 %", "10 %", "100 %"} <= _texts(svg).keys()
