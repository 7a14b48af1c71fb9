import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from worlds import home_runs, new_items_world, report_world

from serendip.evaluate.lists import summarise_deletions
from serendip.evaluate.new_items import measure_exploration
from serendip.evaluate.number_format import number
from serendip.evaluate.report import document as report_module
from serendip.evaluate.report.document import describe_report, json_safe, render_page
from serendip.evaluate.surface_quality import ALL
from serendip.runtime.atomic_files import write_json

HOSTILE = '<script>alert("x")</script>'


class Parts(HTMLParser):
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
    section = report_world()["surfaces"]["home"]
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


@pytest.mark.parametrize(
    "words",
    [
        ("400", "36", "0.081", "0.060 to 0.110", "100.00"),  # explored items
        ("transition", "attribute", "23.00", "15.50", "4.500", "50.0"),  # what reasons cost
        ("context: country", "0.200", "+0.024", "the interval is above 0", "too few"),  # chosen
        ("712 events are before the cut (2001-09-09)", "1 min 04 s", "1,480 MB"),
        ("61 events", "WARN", "perplexity 51.2 of 64"),
        report_world()["verdict"],
    ],
)
def test_it_is_on_the_page(page, words):
    text = " ".join(Parts(page).words).replace("\N{NO-BREAK SPACE}", " ")
    assert [word for word in words if word not in text] == []


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
    assert "4 items appeared after the cut; 3 more came too late" in text
    for start in (figures["logged"], *figures["systems"].values()):
        for found in filter(None, start.values()):
            for end in ("value", "low", "high", "n"):
                assert number(found[end]) in text


UNTESTED = summarise_deletions([], [["code"]], left_out=3)
NOTHING = {
    **{key: {} for key in ("data", "split", "semantic_ids", "seconds")},
    **dict.fromkeys(("exploration", "new_items", "lists")),
    **{"reasons": {}, "decisions": (), "stages": (), "surfaces": ()},
}
UNMEASURED = {"name": "train", "wall_s": None, "cpu_s": None, "peak_mb": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"new_items": new_items_world(items=0)},
            "None appeared after the cut and 5 days before the end",
        ),
        ({"reasons": {"similar": UNTESTED}}, "beside it: 3 reasons."),
        ({"reasons": {"similar": UNTESTED}}, "No reason names what could be taken away."),
        ({"exploration": measure_exploration([])}, "Nothing was explored"),
        (NOTHING, "Nothing was judged."),
        ({"stages": [UNMEASURED]}, "&ndash;"),
    ],
)
def test_a_report_says_what_is_not_there(changes, words):
    assert words in render_page(report_world(**changes))


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


def test_the_page_needs_nothing_from_elsewhere_and_every_drawing_is_well_formed(page):
    parts = Parts(page)
    assert parts.links == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parts.tags)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", page)

    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).get("aria-label")
        assert "nan" not in drawing.lower()


def test_hostile_names_stay_text():
    names = (HOSTILE, "item-kNN", "a & b")
    report = report_world(
        home_runs(names, question=HOSTILE),
        data={"counts": {HOSTILE: 1}, "checks": [{"name": HOSTILE, "status": HOSTILE}]},
    )
    rendered = render_page(report)
    assert "<script" not in rendered
    assert "a &amp; b" in rendered


def test_a_lone_surrogate_in_a_name_can_be_written():
    report = {**report_world(), "verdict": ["a\ud800"]}
    assert "a?" in render_page(report).encode("utf-8").decode()


def test_every_part_of_the_report_is_described_filled_and_strict_json(tmp_path):
    report = report_world(seed=7)
    assert all(f'"{name}"' in report_module.__doc__ for name in report)
    assert [name for name, part in report.items() if not part] == []

    report = report_world()
    write_json(tmp_path / "report.json", report)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == report


def test_no_requests_are_reported_and_not_refused():
    nothing = np.empty((0, 10), np.int32)
    runs = home_runs(
        keys=np.array([], np.uint64),
        users=np.array([], np.str_),
        parts={ALL: []},
        lists={"engine": nothing, "popularity": nothing},
        baselines=["popularity"],
    )
    report = report_world(runs)
    section = report["surfaces"]["home"]
    assert section["systems"]["engine"]["Gini@10"]["value"] is None
    assert section["comparisons"][0]["verdict"] == "too small to tell"
    assert "nothing could be judged" in report["verdict"][0]
    json.dumps(report, allow_nan=False)


def verdict(**changes):
    return report_world(**changes)["verdict"]


def test_five_sentences_say_quality_order_slices_surfaces_and_what_is_wrong():
    quality, order, hard, surfaces, wrong = verdict()
    assert quality.startswith("On the temporal split the engine has the next item in its first ten")
    assert quality.endswith(
        "; a random 2,000 of 50,000 users were judged, `serendip evaluate --full` judges all."
    )
    assert order == "By the order of the ten (nDCG@10) it is better than item-kNN and popularity."
    assert "for cold items (" in hard
    assert hard.endswith("; no request for cold users.")
    assert surfaces.startswith("Surfaces by nDCG@10, against their baselines: home 0.")
    assert surfaces.endswith("; ads not measured.")
    assert wrong == (
        "What nobody should see, and people see: new items: rejected items shown as new (2.0 %)."
    )


def share(value, low, high):
    return {"Recall@10": {"value": value, "low": low, "high": high, "n": 60}}


def test_systems_far_above_where_it_is_hard_are_named_best_first():
    report = report_world()
    cold = {
        "home": share(0.0019, 0.0012, 0.005),
        "knn": share(0.001, 0.0, 0.004),
        "content": share(0.033, 0.02, 0.05),
        "retriever": share(0.039, 0.028, 0.056),
        "nobody": share(None, None, None),
    }
    section = report["surfaces"]["home"]
    section |= {"subject": "home", "slices": {"cold items": {"systems": cold}}}
    section["systems"]["home"] = section["systems"]["engine"]
    assert describe_report(report)[2] == (
        "Where it is hard, the next item is in the first ten: 0.19 % for cold items (0.12 to "
        "0.50), far below retriever with 3.9 % and content with 3.3 %."
    )


def test_values_that_json_does_not_know_become_plain_or_null():
    given = {"a": np.float32(0.5), "b": np.nan, "c": np.array([1, 2]), 4: (np.inf, np.bool_(True))}
    assert json_safe(given) == {"a": 0.5, "b": None, "c": [1, 2], "4": [None, True]}
