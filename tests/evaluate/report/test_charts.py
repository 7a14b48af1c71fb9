"""Charts put values where their scale says."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from serendip.evaluate.report.charts import draw_estimates

GOOD = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 200}
POOR = {"value": 0.1, "low": 0.05, "high": 0.2, "n": 200}
MISSING = {"value": None, "low": None, "high": None, "n": 0}
SYSTEMS = {"engine": {"nDCG@10": GOOD}, "kNN": {"nDCG@10": POOR}, "<none>": {"nDCG@10": MISSING}}


def test_bars_and_whiskers_are_shares_of_the_largest_upper_end() -> None:
    svg = ElementTree.fromstring(draw_estimates("nDCG@10", SYSTEMS, "engine"))
    bars = [
        (bar.attrib["class"], float(bar.attrib["width"]))
        for bar in svg.findall("rect")
        if bar.attrib["class"] != "track"
    ]
    assert bars == [
        ("subject", pytest.approx(288.0)),
        ("other", pytest.approx(72.0)),
        ("other", 0.0),
    ]
    spans = [
        (float(line.attrib["x1"]), float(line.attrib["x2"]))
        for line in svg.findall("line")
        if line.attrib["x1"] != line.attrib["x2"]
    ]
    assert spans == [(216.0, 360.0), (36.0, 144.0)]
    texts = [text.text for text in svg.findall("text")]
    assert texts[-2:] == ["<none>", "no users"]
    assert "0.400  (0.300 to 0.500)" in texts
