from contextlib import closing
from pathlib import Path

import pytest
from small_shop import give

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
        name = float if is_number else "P{}".format
        # four variants of ten products, 20 other items
        give(opened, **{f"i{number}": {"parent": name(number // 4)} for number in range(40)})
        for request in (Request("search", text="tale", k=25), Request("home", k=25)):
            shown = [int(item.item_id[1:]) for item in opened.recommend(request).items]
            products = [number // 4 for number in shown if number < 40]
            assert len(shown) == 25
            assert len(set(products)) == len(products) >= 5
