"""Covers: equal codes look alike, other codes do not, titles can be read on all of them."""

from __future__ import annotations

import colorsys
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from serendip.serve.page.cards import draw_cover

codes = st.lists(st.integers(0, 100_000), max_size=4).map(tuple)
INK = (0x23, 0x27, 0x2B)


def ground_of(drawn: str) -> tuple[float, ...]:
    """Colour behind the title: hue in degrees, saturation and lightness in per cent."""
    found = re.search(r'fill="hsl\(([\d.]+),(\d+)%,(\d+)%\)"', drawn)
    assert found is not None
    return tuple(map(float, found.groups()))


def luminance(colour: tuple[float, ...]) -> float:
    """Of red, green and blue in [0, 1], as WCAG 2.2 defines it for contrast."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(st.text(max_size=9), codes)
def test_a_cover_is_well_formed_and_small_and_always_the_same(item_id, semantic_id):
    drawn = draw_cover(item_id, semantic_id)
    shapes = ElementTree.fromstring(drawn)
    assert {shape.tag for shape in shapes.iter()} == {"svg", "rect", "circle"}
    assert not "".join(shapes.itertext())
    assert len(drawn) < 16_000
    assert drawn == draw_cover(item_id, semantic_id)
    assert "style=" not in drawn
    assert "nan" not in drawn


@given(codes.filter(lambda found: len(found) >= 3))
def test_items_of_one_coarse_code_share_their_colours_and_others_differ(semantic_id):
    other = (semantic_id[0], semantic_id[1] + 1, 5)
    assert ground_of(draw_cover("a", semantic_id)) == ground_of(draw_cover("a", other))
    assert draw_cover("a", semantic_id) != draw_cover("a", other)
    assert len({draw_cover("a", (first, 0, 0)) for first in range(96)}) == 96


@given(codes)
def test_the_title_contrasts_with_its_ground(semantic_id):
    hue, saturation, lightness = ground_of(draw_cover("a", semantic_id))
    ground = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    ink = luminance(tuple(channel / 255 for channel in INK))
    assert (luminance(ground) + 0.05) / (ink + 0.05) >= 7


def test_an_item_without_codes_has_a_plain_cover():
    assert draw_cover("a", ()) != draw_cover("a", (0, 0, 0))
