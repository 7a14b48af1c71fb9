import csv
import json
from math import log2
from pathlib import Path

import numpy as np
import pytest
from bench_world import write_world

from serendip.errors import ConfigError, DataError
from serendip.runtime.progress import SilentProgress
from serendip_bench.served.data import DAY, NEWEST, ServedData
from serendip_bench.served.run import (
    ServedBench,
    run_served,
    slice_users,
    summarise,
    values_of_ranks,
)
from serendip_bench.served.workspace import run_command

USERS = {
    "a": ["i0", "i1", "i2", "i3", "i9"],
    "b": ["i4", "i3", "i2", "i1", "i0", "i5", "i4"],  # the target is in the history
    "c": ["i0", "i3", "i1"],
    "d": ["i7", "i8"],  # too short: training only
}


def world(folder: Path) -> Path:
    return write_world(folder, USERS)


def test_the_last_two_items_are_in_no_file_and_each_event_is_a_day_after_the_one_before(
    tmp_path: Path,
) -> None:
    ServedData(world(tmp_path / "data"), seed=3).write_files(tmp_path)
    with (tmp_path / "events.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    chosen = {user: [row["item_id"] for row in rows if row["user_id"] == user] for user in USERS}
    assert chosen == {
        "a": ["i0", "i1", "i2"],
        "b": ["i4", "i3", "i2", "i1", "i0"],
        "c": ["i0"],
        "d": ["i7", "i8"],
    }
    days = {user: [int(row["timestamp"]) // DAY for row in rows if row["user_id"] == user]
            for user in USERS}  # fmt: skip
    assert all(times[-1] == NEWEST // DAY for times in days.values())
    assert all(np.diff(times).tolist() == [1] * (len(times) - 1) for times in days.values())
    times = [int(row["timestamp"]) for row in rows]
    assert times == sorted(times)
    first = json.loads((tmp_path / "items.jsonl").read_text().splitlines()[0])
    assert first == {"item_id": "i0", "title": "Trains 0", "category": "Toys > Trains"}


def test_users_that_can_be_asked_and_their_slices(tmp_path: Path) -> None:
    data = ServedData(world(tmp_path))
    users, counts = data.list_users(), data.count_events()
    asked = [(user.user_id, user.posted, user.target) for user in users]
    assert asked == [("a", "i3", "i9"), ("c", "i3", "i1")]
    assert [user.history for user in users] == [["i0", "i1", "i2"], ["i0"]]
    assert {item: count for item, count in counts.items() if count} == {
        "i0": 3, "i1": 2, "i2": 2, "i3": 1, "i4": 1, "i7": 1, "i8": 1,
    }  # fmt: skip
    order = {f"i{number}": number for number in range(30)}
    slices = {name: mask.tolist() for name, mask in slice_users(users, counts, order).items()}
    assert slices == {
        "all": [True, True],
        "order-safe": [False, True],  # i9 comes after i3, i1 before it
        "cold users": [True, True],
        "tail items": [True, True],  # only i0 is in the head
        "cold items": [True, False],
        "warm items": [False, True],
    }


def test_items_that_are_left_out_are_in_neither_file_and_have_no_events(tmp_path: Path) -> None:
    data = ServedData(write_world(tmp_path / "data"), share=0.2, seed=3)
    counts, left_out = data.count_events(), data.left_out
    assert len(left_out) == 6 and all(counts[item] == 0 for item in left_out)
    assert not any(left_out & set(user.history) for user in data.list_users())
    data.write_files(tmp_path)
    with (tmp_path / "events.csv").open() as stream:
        chosen = {row["item_id"] for row in csv.DictReader(stream)}
    lines = (tmp_path / "items.jsonl").read_text().splitlines()
    exported = [json.loads(line)["item_id"] for line in lines]
    assert not chosen & left_out and not left_out & set(exported)
    posted = [item["item_id"] for item in data.list_items(left_out)]
    assert sorted([*exported, *posted]) == sorted(counts)


def test_figures_of_a_slice() -> None:
    ranks = np.array([1.0, 3.0, np.inf, 11.0])
    slices = {"all": np.ones(4, np.bool_), "some": np.array([True, True, False, False])}
    slices["none"] = np.zeros(4, np.bool_)
    rows = {row["slice"]: row for row in summarise(values_of_ranks(ranks), slices)}
    assert rows["all"]["users"] == 4
    assert rows["all"]["R@10"] == 0.5
    assert rows["all"]["N@10"] == pytest.approx((1 + 1 / log2(4)) / 4)
    assert rows["all"]["se"] == pytest.approx(np.std([1, 1 / log2(4), 0, 0], ddof=1) / 2)
    assert rows["some"]["N@10"] == pytest.approx((1 + 1 / log2(4)) / 2)
    assert rows["none"]["R@10"] is None


def test_a_failed_command_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`serendip train` failed: .*serendip\.toml"):
        run_command("train", "--workspace", tmp_path)


def test_a_negative_number_of_users_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--users -1"):
        run_served(ServedBench(tmp_path, tmp_path / "x.json", users=-1), SilentProgress())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_cold_items_below_0_or_of_all_is_refused(tmp_path: Path, share: float) -> None:
    bench = ServedBench(tmp_path, tmp_path / "x.json", cold_items=share)
    with pytest.raises(ConfigError, match="--cold-items"):
        run_served(bench, SilentProgress())


def test_init_train_serve_and_ask(tmp_path: Path) -> None:
    """The whole way with posted items, and a second run that asks the same workspace again."""
    data = write_world(tmp_path / "circles")
    bench = ServedBench(data, tmp_path / "served.json", users=12, cold_items=0.2)
    first = run_served(bench, SilentProgress())
    assert json.loads(bench.file.read_text()) == first
    assert first["users"] == {"asked": 12, "possible": len(ServedData(data).list_users())}
    assert first["posted_items"] == 6
    found = {(row["system"], row["slice"]): row["R@10"] for row in first["rows"]}
    users = {row["slice"]: row["users"] for row in first["rows"] if row["system"] == "engine"}
    assert found["engine", "all"] > 0.5  # 10 of 30 items, in circles
    assert users["posted items"] == users["cold items"] > 0
    gains = {(row["baseline"], row["slice"]): row["R@10"] for row in first["comparisons"]}
    systems = {"without exploration", "popularity", "transitions", "retriever"}
    assert systems <= {name for name, _ in gains}
    for (name, part), gain in gains.items():
        assert gain == pytest.approx(found["engine", part] - found[name, part])
    # In a circle the next item is known: steps find it, the same list for everybody does not.
    assert found["transitions", "all"] > 0.5 > found["popularity", "all"]
    assert set(first["costs"]) == {"init", "train", "serve"}
    assert first["costs"]["train"]["cpu_s"] > 0
    assert first["costs"]["serve"]["peak_mb"] > 10
    second = run_served(bench, SilentProgress())
    assert second["rows"] == first["rows"]
    assert second["costs"]["train"] == first["costs"]["train"]
