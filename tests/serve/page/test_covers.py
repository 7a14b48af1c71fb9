"""Covers: equal codes look alike, other codes do not, titles can be read on all of them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.serve.page.covers import (
    PALETTES,
    PATTERNS,
    cover,
    is_narrow,
    palette_of,
    relative_luminance,
)

codes = st.lists(st.integers(0, 100_000), max_size=4).map(tuple)


@given(st.text(max_size=9), codes)
def test_a_cover_is_well_formed_and_small_and_always_the_same(item_id, semantic_id):
    drawn = cover(item_id, semantic_id)
    ElementTree.fromstring(drawn)
    assert len(drawn) < 16_000
    assert drawn == cover(item_id, semantic_id)
    assert "style=" not in drawn
    assert "nan" not in drawn


@given(codes.filter(lambda found: len(found) >= 3))
def test_items_of_one_coarse_code_share_palette_and_composition(semantic_id):
    other = (semantic_id[0], semantic_id[1] + 1, 5)
    assert palette_of(semantic_id) == palette_of(other)
    assert is_narrow(semantic_id) == is_narrow(other)
    assert _field(cover("a", semantic_id)) == _field(cover("b", other))


def test_items_that_differ_in_the_first_code_differ_in_palette_or_composition():
    looks = {(palette_of((c, 0, 0)), _field(cover("a", (c, 0, 0)))) for c in range(96)}
    assert len(looks) == 96


def test_items_that_differ_in_the_second_code_have_another_pattern():
    drawn = {cover("a", (3, second, 0)) for second in range(len(PATTERNS))}
    assert len(drawn) == len(PATTERNS)


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.paper)
def test_the_title_contrasts_with_its_ground(palette):
    ink = "#f8f3ea" if palette.is_dark else "#23272b"
    shades = sorted((relative_luminance(palette.paper), relative_luminance(ink)))
    assert (shades[1] + 0.05) / (shades[0] + 0.05) >= 7


def test_an_item_without_codes_has_a_plain_cover():
    assert cover("a", ()) != cover("a", (0, 0, 0))


def _field(drawn: str) -> tuple[str, ...]:
    return tuple(re.findall(r'<svg x="[^"]*" y="[^"]*" width="[^"]*" height="[^"]*"', drawn))
