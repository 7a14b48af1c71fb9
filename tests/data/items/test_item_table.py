from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serendip.data import Catalogue, Item, Vocabulary
from serendip.errors import ArtefactError

WORDS = st.sampled_from(["", "Red", "red", "ß", "x y"])
VALUES = st.one_of(WORDS, st.floats(-5, 5), st.lists(WORDS, max_size=3).map(tuple))
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "c:d"]), VALUES, max_size=3)
TIMES = st.one_of(st.none(), st.floats(0, 10))


@st.composite
def item_lists(draw, prefix: str = "i", most: int = 6) -> list[Item]:
    return [draw_item(draw, f"{prefix}{number}") for number in range(draw(st.integers(0, most)))]


def draw_item(draw, item_id: str) -> Item:
    attributes = draw(ATTRIBUTES)
    generated = tuple(name for name in attributes if draw(st.booleans()))
    texts = draw(WORDS), draw(WORDS)
    return Item(item_id, *texts, attributes, draw(TIMES), draw(WORDS), generated)


def opened(catalogue: Catalogue, path: Path) -> Catalogue:
    catalogue.save(path)
    return Catalogue.open(path, Vocabulary.restored(catalogue.vocabulary.stored()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(items=item_lists())
def test_items_come_back_from_a_file_as_they_were(tmp_path: Path, items) -> None:
    catalogue = opened(Catalogue(items), tmp_path / "catalogue.arrow")
    assert list(catalogue) == [catalogue[number] for number in range(len(items))] == items
    for item in items:
        assert catalogue[catalogue.vocabulary.number(item.item_id)] == item
        restored = catalogue[catalogue.vocabulary.number(item.item_id)]
        assert list(restored.attributes) == list(item.attributes)
    assert catalogue.vocabulary.number("unknown") == -1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    items=item_lists(), new=item_lists("n", 3), changes=item_lists("i", 3), now=st.floats(-1, 11)
)
def test_posting_gives_what_building_gives(tmp_path: Path, items, new, changes, now) -> None:
    changes = changes[: len(items)]
    posted = opened(Catalogue(items), tmp_path / "catalogue.arrow").with_late(new)
    posted = posted.with_late(changes)
    built = Catalogue([*changes, *items[len(changes) :], *new])
    assert list(posted) == list(built)
    assert list(posted.texts_of("title")) == list(built.texts_of("title"))
    np.testing.assert_array_equal(posted.available_from, built.available_from)
    waiting, begin, end = posted.availability(now)
    later = built.available_from > now
    assert waiting.tolist() == np.flatnonzero(later).tolist()
    assert end == min(built.available_from[later], default=np.inf)
    assert begin <= now
    assert set(posted.attribute_names) >= set(built.attribute_names)
    for name in ("a", "c:d", "nowhere"):
        mine, other = posted.column(name), built.column(name)
        np.testing.assert_array_equal(mine.numbers, other.numbers)
        for word in ("red", "", "SS"):
            np.testing.assert_array_equal(mine.having(word), other.having(word))
        np.testing.assert_array_equal(mine.within(-1, 2), other.within(-1, 2))
        assert posted.values(name).sizes() == built.values(name).sizes()


def test_a_mask_is_computed_once_and_sizes_count_each_item_once() -> None:
    column = Catalogue([Item("i", attributes={"x": "a"}), Item("j")]).column("x")
    assert column.having("a") is column.having("a")
    with pytest.raises(ValueError, match="read-only"):
        column.having("a")[0] = False

    values = Catalogue(
        [
            Item("a", attributes={"tag": ("Red", "red", "x")}),
            Item("b", attributes={"tag": "RED"}),
            Item("c", attributes={"tag": ()}),
        ]
    ).values("tag")
    assert values.sizes() == {"red": 2, "x": 1}
    assert values.has_value().tolist() == [True, True, False]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtefactError, match="no readable items"):
        Catalogue.open(tmp_path / "c.arrow", Vocabulary(()))
