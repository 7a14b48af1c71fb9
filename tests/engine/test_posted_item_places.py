from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_shop import add_settings

from serendip.data import Event, Item
from serendip.data.items.reception import MOST_IMPRESSIONS
from serendip.engine.engine import Engine
from serendip.engine.request import Answer, Request

NOW = 1_700_000_000.0
GENRES = ("horror", "comedy", "western")
POSTED = [f"{genre}{number}" for genre in GENRES for number in (100, 101)]


@pytest.fixture
def opened(shop: Path) -> Iterator[Engine]:
    """Posted tales differ from those of the shop by number alone: none is more to a taste."""
    add_settings(shop, "\n[surfaces.home.exploration]\nmin_taste = -3\n")
    with closing(Engine.open(shop, lambda: NOW)) as engine:
        engine.add_items(
            [
                Item(f"{genre}{number}", f"The {genre} tale number {number}")
                for genre in GENRES
                for number in (100, 101)
            ]
        )
        yield engine


def ask(engine: Engine, user: str, k: int = 10) -> Answer:
    return engine.recommend(Request("home", user_id=user, k=k))


def explored(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items if "explored" in item.parts]


def new(engine: Engine) -> set[str]:
    return set(engine.item_ids(engine.state.new_items.numbers))


def post(engine: Engine, *events: Event) -> None:
    engine.add_events(events)
    engine.catch_up()


def like(engine: Engine, user: str, genre: str) -> None:
    catalogue = engine.state.catalogue
    names = [item.item_id for item in catalogue if genre in item.title and item.item_id[0] == "i"]
    post(engine, *(Event(user, name, NOW - 9, "rate", 5.0) for name in names[:6]))


@pytest.mark.parametrize("genre", GENRES)
def test_a_posted_item_is_shown_to_a_fan_of_what_it_is_like(opened: Engine, genre: str) -> None:
    like(opened, "fan", genre)
    (drawn,) = explored(ask(opened, "fan"))
    assert drawn in {f"{genre}100", f"{genre}101"}


def test_a_visitor_without_a_taste_loses_no_place_to_a_worse_item(opened: Engine) -> None:
    plain = [item.item_id for item in ask(opened, "", 9).items]
    assert [item.item_id for item in ask(opened, "", 10).items][:9] == plain


def test_rejected_items_are_not_new_and_come_late(opened: Engine) -> None:
    assert set(POSTED) == new(opened)
    post(opened, Event("v", "horror100", NOW, "dislike"), Event("w", "comedy100", NOW, "skip"))
    assert new(opened) == set(POSTED) - {"horror100", "comedy100"}

    like(opened, "fan", "horror")
    best = next(item.item_id for item in ask(opened, "fan").items if "explored" not in item.parts)
    count = int(opened.state.counts[opened.state.catalogue.vocabulary.number(best)])
    post(opened, *(Event(f"w{n}", best, NOW, "dislike") for n in range(9 * count + 9)))
    assert best not in [item.item_id for item in ask(opened, "fan").items]


def test_likes_and_impressions_without_any_end_it(opened: Engine) -> None:
    post(opened, *(Event(f"w{n}", "horror100", NOW, "rate", 5.0) for n in range(28)))
    assert new(opened) == set(POSTED) - {"horror100"}
    seen = [Event(f"w{n}", "horror101", NOW, "impression") for n in range(MOST_IMPRESSIONS)]
    post(opened, *seen[1:])
    assert "horror101" in new(opened)
    post(opened, seen[0])
    assert "horror101" not in new(opened)
    like(opened, "fan", "horror")
    assert not set(explored(ask(opened, "fan", 60))) & {"horror100", "horror101"}


def test_impressions_before_the_item_count_when_it_comes(opened: Engine) -> None:
    post(opened, *(Event("v", "late", NOW, "impression") for _ in range(MOST_IMPRESSIONS)))
    opened.add_items([Item("late", "The horror tale number 102")])
    opened.catch_up()
    assert "late" not in new(opened)
