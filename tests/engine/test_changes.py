import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from serendip.data import Item
from serendip.data.users.user import User
from serendip.engine.engine import Engine
from serendip.errors import DataError
from serendip.serve.api.requests import ItemPatch, UserPatch

CHAIR = Item("chair", "A zinc chair", "Sturdy.", {"price": 5.0, "tags": ("red",)}, 1e9)


def test_a_change_sets_what_it_names_and_null_removes(engine: Engine) -> None:
    engine.add_items([CHAIR])
    patch = ItemPatch(title="A copper chair", attributes={"price": 7, "tags": None, "stock": 3})
    changed = engine.change_item("chair", patch.apply)
    expected = replace(CHAIR, title="A copper chair", attributes={"price": 7.0, "stock": 3.0})
    assert changed == expected == engine.item("chair")
    assert engine.search("copper chair", fields=("stock",)).items[0].attributes == {"stock": 3.0}
    freed = engine.change_item("chair", ItemPatch(available_from=None).apply)
    assert freed == replace(expected, available_from=None)

    engine.put_users([User("u1", {"plan": "gold", "age": 3.0}), User("u2", {"plan": "free"})])
    changed_user = engine.change_user("u1", UserPatch(attributes={"age": None, "city": "B"}).apply)
    assert changed_user == engine.user("u1") == User("u1", {"plan": "gold", "city": "B"})
    assert engine.user("u2") == User("u2", {"plan": "free"})
    new = engine.change_user("nobody", UserPatch(attributes={"plan": "gold"}).apply)
    assert new == engine.user("nobody") == User("nobody", {"plan": "gold"})


@pytest.mark.parametrize("item_id", ["unknown", "", "x" * 600, "deleted"])
def test_of_an_unknown_item_nothing_is_changed(engine: Engine, item_id: str) -> None:
    engine.add_items([replace(CHAIR, item_id="deleted")])
    engine.delete_item("deleted")
    before = engine.list_items("", 1_000)
    assert engine.change_item(item_id, ItemPatch(title="Another").apply) is None
    assert engine.list_items("", 1_000) == before


def test_a_change_or_a_batch_that_is_not_valid_stores_nothing(engine: Engine) -> None:
    engine.add_items([CHAIR])
    many = {f"a{number}": 1.0 for number in range(300)}
    with pytest.raises(DataError):
        engine.change_item("chair", lambda item: replace(item, attributes=many))
    assert engine.item("chair") == CHAIR
    with pytest.raises(DataError):
        engine.put_users([User("valid", {"a": 1.0}), User("u2", many)])
    with pytest.raises(DataError):
        engine.change_user("valid", lambda user: replace(user, attributes=many))
    assert engine.user("valid") == User("valid")


def run_beside(*calls: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_changes_at_once_lose_nothing(engine: Engine) -> None:
    engine.add_items([CHAIR])

    def change(name: str) -> None:
        for number in range(15):
            item = ItemPatch(attributes={f"{name}{number}": number})
            user = UserPatch(attributes={f"{name}{number}": number})
            engine.change_item("chair", item.apply)
            engine.change_user("u", user.apply)

    run_beside(lambda: change("a"), lambda: change("b"))
    stored = engine.item("chair")
    wanted = {f"{name}{number}": float(number) for name in "ab" for number in range(15)}
    assert stored is not None and stored.attributes == {**CHAIR.attributes, **wanted}
    assert engine.user("u").attributes == wanted


def test_the_list_of_items_is_complete_while_items_are_posted(engine: Engine) -> None:
    before = set(engine.state.catalogue.vocabulary.ids)
    engine.delete_item("i7")
    found, cursor, number = list[str](), "", 0
    while cursor or not found:
        items, cursor = engine.list_items(cursor, 7)
        found += [item.item_id for item in items]
        number += 1
        engine.add_items([Item(f"i1{number}-new", "New"), Item(f"z{number % 3}", "Last")])
    assert found == sorted(set(found))
    assert before - {"i7"} <= set(found) and "i7" not in found
    assert {"z0", "z1", "z2"} <= set(found)  # behind the place where the list was
