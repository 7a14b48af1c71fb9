from collections.abc import Iterator
from pathlib import Path

import pytest

from serendip.data import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import UnknownItemError

NOW, OPENING = 1_700_000_000.0, 1_700_000_100.0
SOON = Item("soon", "Zanzibar quokka heist", "", {"genre": "horror"}, available_from=OPENING)
TITLE = SOON.title


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(stand: Path, clock: Clock) -> Iterator[Engine]:
    opened = Engine.open(stand, clock)
    opened.add_items([SOON])
    yield opened
    opened.close()


def suggested(engine: Engine, typed: str, user: str = "") -> list[str]:
    suggestions = engine.suggest(Request(user_id=user, text=typed, k=50))
    return [query.text for query in suggestions.queries]


def test_a_title_is_suggested_once_its_item_is_available(engine: Engine, clock: Clock) -> None:
    for typed in ("zanz", "quokka", "zanzibar quoka", TITLE):
        assert TITLE not in suggested(engine, typed)
    clock.now = OPENING - 0.001
    assert TITLE not in suggested(engine, "zanz")
    clock.now = OPENING
    for typed in ("zanz", "quokka", "zanzibar quoka", TITLE):
        assert TITLE in suggested(engine, typed)


def test_an_item_is_unknown_until_it_is_available(engine: Engine, clock: Clock) -> None:
    assert engine.item("soon") is None
    for ask in (
        lambda: engine.similar("soon"),
        lambda: engine.recommend(Request("cart", item_ids=("i1", "soon"))),
        lambda: engine.explain(Request("home"), "soon"),
        lambda: engine.explain(Request("similar", item_ids=("soon",)), "i1"),
    ):
        with pytest.raises(UnknownItemError, match="'soon' is not in the catalogue"):
            ask()
    clock.now = OPENING
    assert engine.item("soon") == SOON
    assert engine.similar("soon").items
    assert engine.explain(Request("home"), "soon").item_id == "soon"


def test_items_become_available_one_by_one_despite_posts_in_between(
    engine: Engine, clock: Clock
) -> None:
    engine.add_items([Item("later", "Zanzibar again", available_from=OPENING + 100)])
    seen = []
    for clock.now in (NOW, OPENING, OPENING + 50, OPENING + 100, NOW):
        engine.add_items([Item(f"other-{clock.now}", "Another")])
        seen.append([engine.item(name) is not None for name in ("soon", "later")])
    none, first, both = [False, False], [True, False], [True, True]
    assert seen == [none, first, first, both, none]


def test_a_deleted_item_never_becomes_available(engine: Engine, clock: Clock) -> None:
    assert engine.delete_item("soon")
    clock.now = OPENING
    assert engine.item("soon") is None
    assert TITLE not in suggested(engine, "zanz")


def test_unavailable_items_are_not_counted_as_deleted(engine: Engine) -> None:
    engine.delete_item("i3")
    trace = engine.explain(Request("home"), "i1").trace
    assert (trace["catalogue"], trace["after available"], trace["after deleted"]) == (61, 60, 59)
