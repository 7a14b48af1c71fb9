import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import serendip_here

from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.files.config import EventsConfig
from serendip.files.events import read_events
from serendip.jobs.import_files import import_files

ITEMS = ["id,name", *(f"i{n},Lamp {n}" for n in range(100))]
EVENTS = ["user,item,timestamp", *(f"u{n % 7},i{n % 100},{1_700_000_000 + n}" for n in range(300))]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "serendip.toml").write_text(
        '[items]\npath = "items.csv"\n[events]\npath = "events.csv"\n'
    )
    write(tmp_path, ITEMS, EVENTS)
    import_files(Workspace.open(tmp_path))
    return tmp_path


def write(folder: Path, items: list[str], events: list[str]) -> None:
    (folder / "items.csv").write_text("\n".join(items) + "\n")
    (folder / "events.csv").write_text("\n".join(events) + "\n")


def counts(folder: Path) -> tuple[int, int]:
    with Workspace.open(folder).open_store() as store:
        return store.count_items(), store.log.count()


def test_a_cut_items_file_is_refused_and_the_items_stay(shop: Path) -> None:
    write(shop, ITEMS[:51], EVENTS)
    done = serendip_here("import", cwd=shop)
    assert done.returncode == 3
    assert "items.csv: 50 of the 100 items of the import before are missing" in done.stderr
    assert "--allow-loss" in done.stderr
    assert counts(shop) == (100, 300)
    done = serendip_here("import", "--allow-loss", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert counts(shop) == (50, 300)


def test_a_cut_events_file_is_refused_and_the_events_stay(shop: Path) -> None:
    write(shop, ITEMS, EVENTS[:201])
    with pytest.raises(DataError, match=r"events\.csv has 200 events; the import before had 300"):
        import_files(Workspace.open(shop))
    assert counts(shop) == (100, 300)
    import_files(Workspace.open(shop), allow_loss=True)
    assert counts(shop) == (100, 200)


def test_other_ids_are_lost_items_and_a_tenth_may_go(shop: Path) -> None:
    write(shop, [ITEMS[0], *(f"j{line}" for line in ITEMS[1:])], EVENTS)
    with pytest.raises(DataError, match="100 of the 100 items"):
        import_files(Workspace.open(shop))
    write(shop, ITEMS[:91], EVENTS[:271])
    assert import_files(Workspace.open(shop))["deleted_items"] == 10
    write(shop, ITEMS[:82], EVENTS[:271])  # of the 90 that are left now
    assert import_files(Workspace.open(shop))["deleted_items"] == 9


CSV = "user,item,timestamp\n" + "".join(f"u,i,{1_700_000_000 + n}\n" for n in range(5))
ISO = "user,item,timestamp\n" + "u,i,2026-01-02T10:00:00\n" * 5


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("e.csv", CSV[:-9], "line 6: timestamp is far before all others"),
        ("e.csv", CSV[:-3], "line 6: timestamp is far before all others"),
        ("e.csv", CSV[:-11], "line 6: timestamp is empty"),
        ("e.csv", CSV[:-12], "line 6: Expected Number of Columns: 3"),
        ("e.csv", ISO[:-2], "line 6: timestamp '2026-01-02T10:00:0' is not a time"),
        ("e.jsonl", '{"user": "u", "item": "i", "ts": 1}\n{"user": "u", "it', "line 2: not JSON"),
    ],
)
def test_half_a_last_line_is_refused_with_its_number(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_events(EventsConfig(path=name), tmp_path).table()
    assert reason in caught.value.message


@pytest.mark.parametrize("text", [CSV[:-1], ISO[:-1], "user,item,timestamp\nu,i,10\nu,i,1"])
def test_a_last_line_without_an_end_may_be_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "e.csv").write_text(text)
    table = read_events(EventsConfig(path="e.csv"), tmp_path).table()
    assert len(table) == text.count("\n")


def test_a_file_that_does_not_fit_into_memory_is_named(tmp_path: Path) -> None:
    places = pa.array([0] * 400, pa.int32())
    texts = pa.DictionaryArray.from_arrays(places, ["x" * 8_000_000])  # 3 GB in 0.4 MB
    ids = [f"i{n}" for n in range(400)]
    pq.write_table(pa.table({"id": ids, "name": texts}), tmp_path / "items.parquet")
    (tmp_path / "serendip.toml").write_text('[items]\npath = "items.parquet"\n')
    command = f"ulimit -v 3000000; exec {sys.executable} -m serendip import"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "items.parquet does not fit into memory" in done.stderr
    assert "Traceback" not in done.stderr
