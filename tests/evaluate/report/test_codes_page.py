from __future__ import annotations

import re
from typing import Any

import pytest

from serendip.evaluate.report.charts import draw_code_sizes, draw_collisions, draw_kept
from serendip.evaluate.report.page import render_codes_page, sentences

EVIL = '<script>alert("x")</script>'


def document(**changes: Any) -> dict[str, Any]:
    """Six items, two levels of four codes."""
    return {
        "version": "v2",
        "parent": "v1",
        "created": "2026-01-02T03:04:05+00:00",
        "made_from": {
            "semantic_ids": {"method": "residual-k-means", "vectors": "content"},
            "encoder": "hashing 1",
        },
        "num_items": 6,
        "collision_rate": 1 / 3,
        "used": [2, 4],
        "dead": [2, 0],
        "perplexity": [1.9, 3.6],
        "sizes": [[4, 2, 0, 0], [2, 2, 1, 1]],
        "shared_by": [4, 2, 0, 0, 0],
        "neighbour_agreement": 0.8,
        "pair_agreement": {"together": 0.5, "by_chance": 0.25},
        "groups": [{"prefix": "3", "name": "Horror", "items": 4, "examples": ["Dracula", EVIL]}],
        "kept": {
            "before": "v1",
            "after": "v2",
            "kept": [1.0, 0.75],
            "kept_all_levels": 0.7,
        },
        **changes,
    }


def test_a_page_says_what_was_measured() -> None:
    page = render_codes_page(document())
    for words in ("Semantic IDs v2", "3 Horror", "Dracula", "residual-k-means", "v1 to v2"):
        assert words in page
    assert page.count("<svg") == 5


def test_names_and_titles_are_escaped() -> None:
    group = {"prefix": "0", "name": EVIL, "items": 4, "examples": [EVIL]}
    page = render_codes_page(document(groups=[group]))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") == 2


def test_a_page_needs_nothing_else() -> None:
    assert not re.search(r"<script|<link|<img|src=|href=|url\(", render_codes_page(document()))


def test_a_first_version_has_nothing_to_have_kept() -> None:
    page = render_codes_page(document(parent=None, kept=None, pair_agreement=None))
    assert "Kept from" not in page
    assert page.count("<svg") == 4


def test_an_empty_report_is_a_page() -> None:
    empty = document(num_items=0, sizes=[[0]], shared_by=[0] * 5, groups=[], kept=None)
    assert "Semantic IDs v2" in render_codes_page(empty)


def test_sentences_say_what_the_codes_are_worth() -> None:
    assert sentences(document()) == [
        "33.3 % of the items share their full code with another.",
        "80.0 % share their first code with the nearest item by content.",
        "50.0 % of the items chosen together share it (25.0 % by chance).",
        "70.0 % of the items keep all codes that they had in v1.",
    ]
    bare = document(neighbour_agreement=None, pair_agreement=None, kept=None)
    assert len(sentences(bare)) == 1


def test_sizes_are_drawn_one_bar_per_code_and_dead_ones_are_told() -> None:
    drawing = draw_code_sizes(0, [4, 2, 0, 0])
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" rx="2" class="subject"', drawing)]
    assert heights == [120.0, 60.0, 0.0, 0.0]
    assert "2 dead" in drawing
    assert "none dead" in draw_code_sizes(1, [2, 2, 1, 1])


def test_many_codes_are_drawn_as_means() -> None:
    drawing = draw_code_sizes(0, [*range(999, 0, -1), 0])
    assert drawing.count('class="subject"') == 160
    assert "1 dead" in drawing


@pytest.mark.parametrize(
    ("drawing", "words"),
    [
        (draw_collisions([4, 2, 0, 0, 0]), ["alone", "4 items, 66.7 %", "2 items, 33.3 %"]),
        (draw_kept(document()["kept"]), ["Level 1", "75.0 %", "All levels", "70.0 %", "v1 to v2"]),
    ],
)
def test_shares_are_told_in_words(drawing: str, words: list[str]) -> None:
    for word in words:
        assert word in drawing
