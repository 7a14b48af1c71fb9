import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data import ItemList
from serendip.engine.engine import Engine
from serendip.engine.presenter import Presenter
from serendip.engine.request import MAX_SHOWN, Place, Request, hash_ids
from serendip.errors import DataError
from serendip.serve.limits import MAX_CURSOR_CHARS

IDS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), unique=True)


@given(IDS, IDS)
def test_a_cursor_names_what_was_shown_on_all_pages_before(
    first: list[str], second: list[str]
) -> None:
    cursor = Place.read(Place.read("").write(first)).write(second)
    assert Place.read(cursor).shown.tolist() == hash_ids([*first, *second]).tolist()


def test_the_empty_cursor_is_the_first_page() -> None:
    assert len(Place.read("").shown) == 0


@given(st.text(min_size=1) | st.binary(min_size=1).map(base64.urlsafe_b64encode).map(bytes.decode))
@settings(max_examples=300)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="cursor") as caught:
        Place.read(text)
    assert "`cursor`" in caught.value.hint


@given(IDS.filter(bool), st.data())
def test_a_cursor_that_is_cut_or_changed_is_refused(ids: list[str], data: st.DataObject) -> None:
    cursor = Place().write(ids)
    place = data.draw(st.integers(1, len(cursor) - 1))
    other = "A" if cursor[place] != "A" else "Q"
    for broken in (cursor[:place], cursor[:place] + other + cursor[place + 1 :]):
        with pytest.raises(DataError, match="cursor"):
            Place.read(broken)


def test_the_service_takes_the_longest_cursor_that_it_issues() -> None:
    longest = Place().write([f"i{number}" for number in range(MAX_SHOWN)])
    assert len(longest) <= MAX_CURSOR_CHARS
    place = Place.read(longest)
    assert len(place.shown) == MAX_SHOWN
    with pytest.raises(DataError, match="cursor"):
        Place.read(place.write(["one more"]))


LISTS = st.lists(
    st.permutations(range(30)).flatmap(
        lambda order: st.integers(5, 30).map(lambda count: order[:count])
    ),
    min_size=12,
    max_size=12,
)


@given(LISTS, st.integers(1, 7))
def test_pages_repeat_nothing_and_skip_nothing_that_stays(
    reader: Engine, lists: list[list[int]], size: int
) -> None:
    ids_of, pages, cursor = reader.state.catalogue.vocabulary.ids_of, list[list[str]](), ""
    for number, items in enumerate(lists):
        presenter = Presenter(
            reader.state, f"gen-{number}", Request(k=size), Place.read(cursor)
        )  # in another generation, too
        scores = -np.arange(len(items), dtype=np.float32)
        answer = presenter.build_plain(ItemList.of_distinct(np.array(items, np.int32), scores))
        before = {item_id for page in pages for item_id in page}
        pages.append([item.item_id for item in answer.items])
        # A page is the best of what was not shown before.
        rest = [item_id for item_id in ids_of(items) if item_id not in before]
        assert pages[-1] == rest[:size]
        cursor = answer.next
        if not cursor:
            stay = set.intersection(*map(set, lists[: len(pages)]))
            assert {*ids_of(sorted(stay))} <= before | {*pages[-1]}
            break
