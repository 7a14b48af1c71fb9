import json
from pathlib import Path

import pyarrow.parquet as pq
from commands import serendip_here


def test_items_users_and_queries_are_written_for_people_and_for_programs(shop: Path) -> None:
    done = serendip_here("embed", "items", "-w", shop)
    assert done.returncode == 0, done.stderr
    place = shop / "embeddings" / "items.parquet"
    size = len(pq.read_table(place)["vector"][0])
    assert done.stdout.startswith(f"60 vectors of {size} numbers in {place}\n")
    assert "gen-1, space retriever-1-" in done.stdout
    users = serendip_here("embed", "users", "-w", shop, "--out", shop / "u.parquet", "--json")
    told = json.loads(users.stdout)
    assert (told["kind"], told["rows"], told["dimensions"]) == ("users", 45, size)
    assert pq.read_metadata(shop / "u.parquet").num_rows == 45
    (shop / "q.txt").write_text("horror tale\n")
    queries = serendip_here("embed", "queries", "-w", shop, "--file", shop / "q.txt", "--json")
    assert json.loads(queries.stdout)["space"] == told["space"]
    assert pq.read_table(shop / "embeddings" / "queries.parquet")["query"].to_pylist() == [
        "horror tale"
    ]


def test_a_training_says_whether_the_space_stays(stand: Path) -> None:
    done = serendip_here("train", "--rebuild", "-w", stand, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["space"]
    assert (told["kept"], told["aligned_to"]) == (True, "gen-1")
    assert f"vectors: space {told['name']} as in gen-1" in done.stderr
