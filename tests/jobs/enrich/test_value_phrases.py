"""Words of a value stand for it only where they nearly always do."""

from __future__ import annotations

from serendip.data.items.catalogue import Item
from serendip.data.store.tables.generated_values import list_values
from serendip.jobs.enrich.value_phrases import MIN_ITEMS, MIN_SHARE, ValuePhrases


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


def test_any_value_of_a_list_is_right() -> None:
    phrases = learn(*(item(f"Space opera {number}", "Opera", "Space") for number in range(2)))
    assert phrases.find(item("A space walk")) == "Space"
    assert phrases.find(item("Night at the opera")) == "Opera"
