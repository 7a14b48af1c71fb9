from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from serendip.engine.engine import Engine
from serendip.engine.request import Request


@pytest.mark.parametrize("is_number", [False, True])
def test_one_variant_of_a_product_is_shown_and_items_without_one_all(
    shop: Path, is_number: bool
) -> None:
    table = "\n[surfaces.{}.diversity]\nattribute = 'parent'\nmost = 1\nwindow = 40\n"
    settings = shop / "serendip.toml"
    text = settings.read_text() + "".join(map(table.format, ("search", "home")))
    settings.write_text(text + "\n[surfaces.home.exploration]\nshare = 0\n")
    with closing(Engine.open(shop)) as opened:
        for number in range(40):  # four variants of ten products, 20 other items
            item = opened.item(f"i{number}")
            assert item is not None
            parent = number // 4
            value = float(parent) if is_number else f"P{parent}"
            attributes = {**item.attributes, "parent": value}
            opened.add_items([replace(item, attributes=attributes)])
        for request in (Request("search", text="tale", k=25), Request("home", k=25)):
            shown = [int(item.item_id[1:]) for item in opened.recommend(request).items]
            products = [number // 4 for number in shown if number < 40]
            assert len(shown) == 25
            assert len(set(products)) == len(products) >= 5
