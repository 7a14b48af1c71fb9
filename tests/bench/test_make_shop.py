from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from serendip_bench.scripts.make_shop import ShopSize, write_shop


@pytest.mark.parametrize("items", [1, 30, 2_000])
def test_a_shop_has_the_requested_size(items: int, tmp_path: Path) -> None:
    write_shop(tmp_path, ShopSize(items, users=50, events=3_000))
    catalogue = pq.read_table(tmp_path / "items.parquet")
    events = pq.read_table(tmp_path / "events.parquet")
    skus = catalogue["sku"].to_pylist()
    assert len(set(skus)) == len(skus) == items
    assert (catalogue.column_names, len(events)) == (["sku", "name", "department", "price"], 3_000)
    assert set(events["sku"].to_pylist()) <= set(skus)
    assert set(events["customer"].to_pylist()) <= {f"u{number}" for number in range(50)}
    assert (np.diff(events["when"].to_numpy()) >= 0).all()
    assert set(events["action"].to_pylist()) == {"view", "purchase"}
