from contextlib import closing
from pathlib import Path

import pytest
from failing_sync import run_script
from stored_files import fill, mounted

from serendip.data import Event, Item
from serendip.data.store.store import Store
from serendip.errors import DiskFullError

MANY = [Event("u", "a", float(number)) for number in range(10_000)]


def test_a_full_disk_is_an_error_of_its_own_and_writes_go_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "disk", "size=4m") as folder:
        with closing(Store.create(folder / "serendip.db")) as store:
            store.put_items([Item("a")])
            ballast = fill(folder)
            with pytest.raises(DiskFullError) as caught:
                store.put_events(MANY)
            assert (caught.value.status, caught.value.kind) == (507, "storage_full")
            assert str(folder) not in str(caught.value)
            assert (store.count_items(), store.log.count()) == (1, 0)
            ballast.unlink()
            assert store.put_events(MANY[:10]) == 10


WRITES = """
import os, sys
from pathlib import Path
from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError

store, switch = Store.open(sys.argv[1]), Path(os.environ["SYNC_FAILS"])
written = []
for number in range(6):
    if number == 2:
        switch.touch()
    if number == 4:
        switch.unlink()
    try:
        store.put_events([Event("u", "a", float(number))])
        written.append(number)
    except StorageError:
        pass
print(written)
store.close()
"""


def test_a_write_whose_sync_fails_is_not_acknowledged_and_those_after_it_are_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "serendip.db"
    Store.create(path).close()
    assert run_script(WRITES, path, tmp_path) == "[0, 1, 4, 5]"
    with closing(Store.open(path)) as store:
        assert {0.0, 1.0, 4.0, 5.0} <= {event.timestamp for event in store.log.history("u", 9)}
