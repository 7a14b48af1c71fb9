"""The page: every number, nothing from elsewhere, no name that becomes markup."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from worlds import new_items_world, report_world, temporal_runs, temporal_world

from serendip.evaluate.faithfulness import summarise_deletions
from serendip.evaluate.new_items import measure_exploration
from serendip.evaluate.number_format import number
from serendip.evaluate.report.document import day, render_page

HOSTILE = '<script>alert("x")</script>'


class Parts(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page():
    return render_page(report_world())


def test_every_number_of_systems_slices_and_comparisons_is_on_the_page(page):
    text = " ".join(Parts(page).words)
    section = report_world()["protocols"]["temporal"]
    systems = [section["systems"], *(part["systems"] for part in section["slices"].values())]
    for found in (f for group in systems for labels in group.values() for f in labels.values()):
        if found["value"] is None:
            assert "nobody" in text
            continue
        for end in ("value", "low", "high", "n"):
            assert number(found[end]) in text
    for row in section["comparisons"]:
        for end in ("difference", "low", "high", "n", "minimum_detectable"):
            assert number(row[end]) in text
        assert row["verdict"] in text


def test_what_was_explored_is_on_the_page(page):
    text = " ".join(Parts(page).words)
    for shown in ("400", "36", "0.081", "0.060 to 0.110", "100.00"):
        assert shown in text


def test_what_people_see_is_on_the_page_and_what_is_wrong_in_the_verdict(page):
    told = (
        *("What people see", "gen-3", "rejected items shown as new", "0.020", "0.010 to 0.040"),
        *("horror 1990s", "The Tale &lt;1&gt;", "attribute 24, rule 7"),
        *("there are no events of users", "nobody should see"),
    )
    assert [text for text in told if text not in page] == []


def test_new_items_are_on_the_page(page):
    text = " ".join(Parts(page).words)
    figures = report_world()["new_items"]
    assert "4 items appeared after the newest cut; 3 more came too late" in text
    for start in (figures["logged"], *figures["systems"].values()):
        for found in filter(None, start.values()):
            for end in ("value", "low", "high", "n"):
                assert number(found[end]) in text


def test_a_report_without_impressions_says_nothing_of_them():
    report = report_world(new_items=new_items_world(logged=None))
    assert "<th>the log</th>" not in render_page(report)


def test_a_report_says_that_no_item_is_new():
    report = report_world(new_items=new_items_world(items=0))
    assert "None appeared after the newest cut and 5 days before the end" in render_page(report)


def test_what_reasons_cost_is_on_the_page(page):
    words = Parts(page).words
    text = " ".join(words)
    for shown in ("transition", "attribute", "23.00", "15.50", "4.500", "50.0"):
        assert shown in text
    untested = report_world(reasons={"similar": summarise_deletions([], [["code"]], left_out=3)})
    assert "beside it: 3 reasons." in render_page(untested)
    assert "No reason names what could be taken away." in render_page(untested)


def test_what_was_chosen_is_on_the_page_with_its_gain(page):
    text = " ".join(Parts(page).words)
    for shown in ("context: country", "0.200", "+0.024", "the interval is above 0", "too few"):
        assert shown in text


def test_a_report_says_that_nothing_was_explored():
    report = report_world(exploration=measure_exploration([]))
    assert "Nothing was explored" in render_page(report)


def test_every_number_of_the_surfaces_is_on_the_page(page):
    text = " ".join(Parts(page).words)
    for section in report_world()["surfaces"].values():
        assert section["question"] in text
        assert section["note"] in text
        found = [e for metrics in section["systems"].values() for e in metrics.values()]
        for part in section["slices"].values():
            found += [metrics["nDCG@10"] for metrics in part["systems"].values()]
        for messages in (section["message"] or {}).values():
            found += [messages[name] for name in ("sent", "precision", "useful")]
        found += list((section["auction"] or {}).values())
        for estimate in found:
            ends = ("value", "low", "high", "n") if estimate["value"] is not None else ()
            assert all(number(estimate[end]) in text for end in ends)


def test_sentences_checks_stages_and_codes_are_on_the_page(page):
    text = " ".join(Parts(page).words).replace("\N{NO-BREAK SPACE}", " ")
    for line in report_world()["verdict"]:
        assert line in text
    for words in ("61 events", "WARN", "1 min 04 s", "1,480 MB", "perplexity 51.2 of 64"):
        assert words in text


def test_the_page_needs_nothing_from_elsewhere(page):
    parts = Parts(page)
    assert parts.links == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parts.tags)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", page)


def test_every_drawing_is_well_formed(page):
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).get("aria-label")
        assert "nan" not in drawing.lower()


def test_hostile_names_stay_text():
    names = (HOSTILE, "item-kNN", "a & b")
    report = report_world(
        temporal_world(temporal_runs(names, surface=HOSTILE)),
        data={"counts": {HOSTILE: 1}, "checks": [{"name": HOSTILE, "status": HOSTILE}]},
    )
    rendered = render_page(report)
    assert "<script" not in rendered
    assert "a &amp; b" in rendered


def test_a_lone_surrogate_in_a_name_can_be_written():
    report = {**report_world(), "verdict": ["a\ud800"]}
    assert "a?" in render_page(report).encode("utf-8").decode()


def test_a_report_of_nothing_is_a_page():
    nothing = {"data": {}, "splits": {}, "semantic_ids": {}, "exploration": None}
    nothing |= {"new_items": None, "reasons": {}, "decisions": (), "lists": None}
    empty = report_world(**nothing, protocols={}, stages=(), surfaces=())
    assert "Nothing was judged." in render_page(empty)


def test_without_slices_costs_cuts_or_baselines_it_is_a_page():
    bare = temporal_world(temporal_runs(slices={}, baselines=()), cuts=(), seconds={})
    assert "against the others" not in render_page(report_world(bare))


def test_stages_and_cuts_without_a_measure_show_a_dash():
    stages = [{"name": "train", "wall_s": None, "cpu_s": None, "peak_mb": None}]
    assert "&ndash;" in render_page(report_world(stages=stages))
    assert (day(None), day(0.0), day("2026-01-02T03:04:05")) == (
        "\N{EN DASH}",
        "1970-01-01",
        "2026-01-02 03:04",
    )
