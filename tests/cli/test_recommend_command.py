import json
from pathlib import Path

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
