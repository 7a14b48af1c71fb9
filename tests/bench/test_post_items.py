"""The benchmark of posts, and many posts in a row."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from serendip.engine.engine import Engine
from serendip_bench.large_state import shop_items
from serendip_bench.scripts.post_items import measure, measure_reads


def test_posts_changes_and_readings_are_measured(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Engine.open(shop)) as engine, closing(Engine.open(shop)) as reader:
        result = measure(engine, 201) | measure_reads(engine, reader, 3)
    assert result["items"] == 60 + 201
    assert result["newest_is_found"]
    assert len(result["posts"]) == 100
    names = ("first_tenth", "last_tenth", "change", "delete", "first_read", "second_read")
    assert all(result[name] > 0 for name in names)
    assert "201 posts," in capsys.readouterr().err.splitlines()[-1]


def test_hundreds_of_posts_in_a_row_with_readings_between_are_all_found(shop: Path) -> None:
    items = list(shop_items(330, seed=4, prefix="row"))
    with closing(Engine.open(shop)) as engine:
        for number, item in enumerate(items):
            engine.add_items([item])
            if number % 40 == 7:  # what is computed when it is read is read at any moment
                assert engine.search(item.title).items[0].item_id == item.item_id
                assert engine.similar(item.item_id).items
        for item in items[::30]:
            assert engine.search(item.title).items[0].item_id == item.item_id
    with closing(Engine.open(shop)) as opened:
        assert opened.state.num_items == 390
        assert opened.search(items[-1].title).items[0].item_id == items[-1].item_id
