from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import add_settings

from serendip.data.items.catalogue import Catalogue, Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.scoring import values_of, weigh_actions
from serendip.engine.stages.surfaces import ItemValueConfig
from serendip.models.ranker.config import RankerConfig
from serendip.models.ranker.model import Ranker

PROBABILITIES = np.array([[0.5, 0.2], [0.5, 0.1], [0.1, 0.0]], np.float32)
PRICES = (10.0, 100.0, 1.0)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [((), [9.0, 70.0, 0.1]), (("purchase",), [0.5 + 4.0, 0.5 + 20.0, 0.1])],
)
def test_the_named_actions_are_worth_the_value_and_all_by_default(
    reader: Engine, actions: tuple[str, ...], expected: list[float]
) -> None:
    config = ItemValueConfig(attribute="price", actions=actions)
    surface = reader.settings.all_surfaces()["home"].model_copy(
        update={"item_value": config, "action_weights": {"interact": 1.0, "purchase": 2.0}}
    )
    items = [Item(f"p{price}", "P", "", {"price": price}) for price in PRICES]
    state = replace(reader.state, catalogue=Catalogue(items))
    ranker = Ranker(RankerConfig(actions=("interact", "purchase")))
    values = weigh_actions(PROBABILITIES, ranker, surface, state, np.arange(3, dtype=np.int32))
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_an_item_without_the_number_has_the_median() -> None:
    items = [
        Item("a", "A", "", {"price": 4.0}),
        Item("b", "B", "", {"price": 10.0}),
        Item("c", "C", "", {"price": "on request"}),
        Item("d", "D", "", {"price": -6.0}),
        Item("e", "E"),
    ]
    config, every = ItemValueConfig(attribute="price"), np.arange(5, dtype=np.int32)
    assert values_of(config, Catalogue(items), every).tolist() == [4.0, 10.0, 4.0, -6.0, 4.0]
    nobody = ItemValueConfig(attribute="margin")
    assert values_of(nobody, Catalogue(items), every).tolist() == [1.0] * 5
    posted = Catalogue(items).with_late([Item("f", "F", "", {"price": 8.0})])
    # The median is that of the training: a post changes no other value, and costs no pass.
    assert values_of(config, posted, np.array([4, 5], np.int32)).tolist() == [4.0, 8.0]


def with_margin(item: Item, best: str) -> Item:
    margin = 1e6 if item.item_id == best else 1.0
    return Item(item.item_id, item.title, item.description, {"margin": margin, **item.attributes})


def test_home_is_ordered_by_expected_value(shop: Path) -> None:
    add_settings(shop, '\n[surfaces.valued]\ntask = "home"\nitem_value = {attribute = "margin"}\n')
    with closing(Engine.open(shop)) as engine:
        plain = engine.recommend(Request("home", "u0", k=60)).items
        # Nobody has a margin: the order is that of home.
        valued = engine.recommend(Request("valued", "u0", k=60)).items
        assert [item.item_id for item in valued] == [item.item_id for item in plain]
        last = plain[-1]
        engine.add_items([with_margin(item, last.item_id) for item in engine.state.catalogue.items])
        first = engine.recommend(Request("valued", "u0", k=60, parts=True)).items[0]
        assert first.item_id == last.item_id
        expected = 1e6 * sum(first.parts[f"P({name})"] for name in ("interact", "like"))
        # Two parts, each rounded to five decimals, and a score of 14 bits.
        assert first.score == pytest.approx(expected, rel=1e-4, abs=1e6 * 2 * 0.5e-5)
