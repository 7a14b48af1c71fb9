"""Words of a value stand for it only where they nearly always do."""

from __future__ import annotations

from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated_items import list_values
from serendip.jobs.llm.attributes import MIN_ITEMS, MIN_SHARE, ValuePhrases


def item(title: str, *values: str, description: str = "") -> Item:
    attributes = {"brand": values[0] if len(values) == 1 else values} if values else {}
    return Item(title, title, description, attributes)


def learn(*known: Item) -> ValuePhrases:
    values = dict.fromkeys(value for one in known for value in list_values(one, "brand"))
    return ValuePhrases.learn(known, "brand", list(values))


def test_the_longest_value_of_the_title_counts_then_the_description() -> None:
    phrases = learn(
        *(item(f"Acme lamp {number}", "Acme") for number in range(4)),
        *(item(f"Acme Home rug {number}", "Acme Home") for number in range(1)),
        *(item(f"Drill {number}", "Bolt", description="By Bolt") for number in range(2)),
        *(item(f"Bolt drill {number}", "Bolt") for number in range(2)),
    )
    assert phrases.find(item("An ACME kettle")) == "Acme"
    assert phrases.find(item("Kettle", description="made by bolt.")) == "Bolt"
    assert phrases.find(item("Acme kettle", description="better than Bolt")) == "Acme"
    assert phrases.find(item("Acme and Bolt set")) == ""  # which one?
    assert phrases.find(item("Acmes kettle")) == ""
    assert phrases.find(item("")) == ""


def test_words_that_mostly_mean_something_else_stand_for_nothing() -> None:
    right = [item(f"Home chair {number}", "Home") for number in range(4)]
    wrong = [item(f"Home office desk {number}", "Desko") for number in range(2)]
    assert learn(*right, wrong[0]).find(item("Home sofa")) == "Home"  # 4 of 5
    assert 4 / 6 < MIN_SHARE <= 4 / 5
    assert learn(*right, *wrong).find(item("Home sofa")) == ""
    assert MIN_ITEMS == 2
    assert learn(right[0], item("Lamp", "Desko")).find(item("Home sofa")) == ""  # seen once


def test_words_of_descriptions_are_learned_from_descriptions() -> None:
    phones = [item(f"Apple phone {number}", "Apple") for number in range(9)]
    case = item("Case", description="Fits every Apple phone")
    assert learn(*phones).find(case) == ""
    assert learn(*phones).find(item("Apple case")) == "Apple"
    told = [item(f"Phone {number}", "Apple", description="Made by Apple") for number in range(9)]
    assert learn(*told).find(case) == "Apple"
    assert learn(*told).find(item("Apple case")) == ""
