from pathlib import Path

import numpy as np
import pytest

from serendip.data import Catalogue, Item
from serendip.data.events.search_log import LoggedRequest
from serendip.data.privacy import VISITOR
from serendip.search.chosen_searches import MOST_SEARCHES, ChosenSearches, find_searches
from serendip.search.searcher import Searcher

GIFT = "Mother's day gift"
ITEMS = Catalogue(
    [
        Item("a", "Silver jewelry box"),
        Item("b", "Gift of a mother"),
        Item("c", "Every day gift mug"),
        Item("d", "Card for a mother's day gift"),
    ]
)


def chosen(user: str, text: str, *items: int) -> LoggedRequest:
    numbers = np.array(items, np.int32)
    return LoggedRequest(user, 1.0, 2.0, "search", text, numbers, numbers, numbers > 9)


ENOUGH = [chosen(f"u{n}", GIFT.upper() if n else GIFT, 0) for n in range(3)]


@pytest.mark.parametrize(
    "log",
    [
        ENOUGH[:2],
        [*ENOUGH[:2], chosen("u0", GIFT, 0)],
        [*ENOUGH[:2], chosen(f"{VISITOR}1", GIFT, 0)],
        [chosen(f"u{n}", "me@example.com", 0) for n in range(3)],
        [chosen(f"u{n}", " ", 0) for n in range(3)],
        [chosen(f"u{n}", "jewelery bxo", 0) for n in range(3)],
    ],
    ids=["two people", "one of them twice", "a visitor", "an address", "nothing typed", "a slip"],
)
def test_what_few_chose_or_nobody_may_see_is_not_indexed(log: list[LoggedRequest]) -> None:
    assert not ChosenSearches.of(ITEMS, log, 3).texts


def test_the_searches_of_most_people_are_kept() -> None:
    log = [chosen(f"u{n}", f"gift {text}", 0) for text in range(30) for n in range(3 + text % 2)]
    (searches,) = find_searches(log, 3).values()
    assert len(searches) == MOST_SEARCHES
    assert searches[:3] == ["gift 1", "gift 11", "gift 13"]
    assert sum(int(text.split()[1]) % 2 for text in searches) == 15


def test_it_is_found_beside_what_has_the_words_and_before_what_has_some(tmp_path: Path) -> None:
    def found(searcher: Searcher) -> list[int]:
        return searcher.search("mothers day gift", 4).item_nums.tolist()

    counts = np.zeros(len(ITEMS), np.float32)
    plain = Searcher.build(ITEMS, counts, tmp_path / "plain")
    assert set(found(plain)[1:]) == {1, 2}
    searches = ChosenSearches.of(ITEMS, ENOUGH, 3)
    searcher = Searcher.build(ITEMS, counts, tmp_path / "with", searches=searches)
    assert set(found(searcher)[:2]) == {0, 3}
    assert set(found(searcher)[2:]) == {1, 2}
    posted = searcher.with_late({0: Item("a", "Golden jewelry box")})
    assert set(found(posted)[:2]) == {0, 3}
    assert set(found(posted)[2:]) == {1, 2}
