"""``serendip recommend`` with filters and an order, and what it refuses."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from commands import serendip_here


def test_filters_and_an_order_are_those_of_the_request(trained_folder: Path) -> None:
    asked = ("recommend", "-w", str(trained_folder), "--user", "u1", "-k", "30", "--json")
    done = serendip_here(*asked, "--filter", "genre=western")
    assert done.returncode == 0, done.stderr
    ids = [item["item_id"] for item in json.loads(done.stdout)["items"]]
    assert ids and all(int(item_id[1:]) % 3 == 2 for item_id in ids)  # every third is a western
    refused = serendip_here(*asked, "--sort", "price")
    assert refused.returncode == 3
    assert "no item has the attribute 'price'" in refused.stderr


def test_filters_of_a_batch_are_those_of_all_its_requests(
    trained_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.parquet"
    asked = ("recommend", "-w", str(trained_folder), "--batch", "--out", str(out))
    refused = serendip_here(*asked, "--sort", "-year")
    assert refused.returncode != 0
    assert "--sort with --batch" in refused.stderr
    assert not out.exists()
    done = serendip_here(*asked, "--filter", "genre=western")
    assert done.returncode == 0, done.stderr
    ids = pq.read_table(out).column("item_id").to_pylist()
    assert ids and all(int(item_id[1:]) % 3 == 2 for item_id in ids)
