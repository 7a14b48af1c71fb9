"""Covers: equal codes look alike, other codes do not, titles can be read on all of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.serve.page.covers import (
    PALETTES,
    choose_palette,
    draw_cover,
    relative_luminance,
)

codes = st.lists(st.integers(0, 100_000), max_size=4).map(tuple)


@given(st.text(max_size=9), codes)
def test_a_cover_is_well_formed_and_small_and_always_the_same(item_id, semantic_id):
    drawn = draw_cover(item_id, semantic_id)
    ElementTree.fromstring(drawn)
    assert len(drawn) < 16_000
    assert drawn == draw_cover(item_id, semantic_id)
    assert "style=" not in drawn
    assert "nan" not in drawn


@given(codes.filter(lambda found: len(found) >= 3))
def test_items_of_one_coarse_code_share_a_palette_and_others_differ_in_it_or_in_size(semantic_id):
    other = (semantic_id[0], semantic_id[1] + 1, 5)
    assert choose_palette(semantic_id) == choose_palette(other)
    assert draw_cover("a", semantic_id) != draw_cover("a", other)
    assert len({draw_cover("a", (first, 0, 0)) for first in range(96)}) == 96


@given(st.text(max_size=9))
def test_an_item_id_never_becomes_markup(item_id):
    drawn = [draw_cover(item_id, (3, second, 1)) for second in range(4)]
    shapes = ElementTree.fromstring("<all>" + "".join(drawn) + "</all>")
    assert {shape.tag for shape in shapes.iter()} <= {"all", "svg", "rect", "circle", "path"}
    assert not "".join(shapes.itertext())


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.background)
def test_the_title_contrasts_with_its_ground(palette):
    ink = "#f8f3ea" if palette.is_dark else "#23272b"
    shades = sorted((relative_luminance(palette.background), relative_luminance(ink)))
    assert (shades[1] + 0.05) / (shades[0] + 0.05) >= 7


def test_an_item_without_codes_has_a_plain_cover():
    assert draw_cover("a", ()) != draw_cover("a", (0, 0, 0))
