"""A disk that is full, and one that does not keep what it was told to keep."""

from __future__ import annotations

import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
from failing_sync import run_script, start_script
from stored_files import fill, mounted

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.backends.disk_failure import DiskFailure
from serendip.data.store.store import Store
from serendip.errors import DiskFullError, StorageError
from serendip.serve.engine_holder import ITEMS_EVERY_S, LOOKS

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
            assert (store.count_items(), store.count_events()) == (1, 0)
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
    except StorageError as error:
        hint = error.hint
print(written, store.count_items(), bool(store.problem()), "restart" in hint)
store.close()
"""


def test_after_a_failed_sync_nothing_more_is_acknowledged_until_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        store.put_items([Item("a")])
    # The third write fails; the fifth would succeed, and is refused.
    assert run_script(WRITES, path, tmp_path) == "[0, 1] 1 True True"
    with closing(Store.open(path)) as store:
        assert store.put_events([Event("u", "a", 9.0)]) == 1
        assert store.count_events() >= 3
        assert store.problem() == ""


SCRUBS = """
import os, sys
from pathlib import Path
from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError

store, switch = Store.open(sys.argv[1]), Path(os.environ["SYNC_FAILS"])
store.erase_user("u")
said = []
for change in (store.remove_erased, lambda: store.put_events([Event("v", "a", 1.0)])):
    switch.touch()
    try:
        said.append(change())
    except StorageError as error:
        said.append("restart" in error.hint)
    switch.unlink(missing_ok=True)
    try:
        store.put_events([Event("v", "a", 2.0)])
    except StorageError as error:
        said.append("restart" in error.hint)
print(said, bool(store.problem()))
store.close()
"""


def test_a_sync_that_fails_while_bytes_are_removed_ends_all_writing(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        store.put_events(Event(name, "a", 1.0) for name in "uv")
    assert run_script(SCRUBS, path, tmp_path) == "[False, True, True, True] True"
    with closing(Store.open(path)) as store:
        assert store.has_remains()
        store.remove_erased()
        assert not store.has_remains()


def test_other_errors_of_the_database_are_no_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        path.unlink()
        with pytest.raises(StorageError) as caught:
            store.put_events(MANY[:1])
        assert not isinstance(caught.value, DiskFullError)


TELLS = """
import os, subprocess, sys
from pathlib import Path
from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError

path, switch = sys.argv[1], Path(os.environ["SYNC_FAILS"])

def write(store):
    try:
        return store.put_events([Event("u", "a", 1.0)])
    except StorageError as error:
        return "restart" in error.hint

if len(sys.argv) > 2:  # another process, which waits for the failure of the first
    store = Store.open(path)
    for line in sys.stdin:
        print(write(store), flush=True)
    sys.exit()

command = [sys.executable, __file__, path, "other"]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
others = [subprocess.Popen(command, **pipes) for _ in range(2)]

def ask(other):
    other.stdin.write("write\\n")
    return other.stdout.readline().strip()

def end(other):
    other.stdin.close()
    other.wait()

first, second = Store.open(path), Store.open(path)
said = [write(first), write(second), ask(others[0]), ask(others[1])]
switch.touch()
said.append(write(first))  # the sync fails
switch.unlink()
said += [write(second), ask(others[0])]  # no sync would fail any more
first.close()
second.close()
said.append(ask(others[1]))  # who began it has ended, who learned of it tells on
end(others[0])
third = Store.open(path)
end(others[1])
said += [write(third), bool(third.problem())]  # nobody else is left; this process knows it
third.close()
print(said)
"""


def test_a_failed_sync_ends_the_writing_of_every_process_until_all_have_ended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "serendip.db"
    Store.create(path).close()
    before, failed = [1, 1, "1", "1"], [False, True, "True", "True", True, True]
    assert run_script(TELLS, path, tmp_path) == str([*before, *failed])
    with closing(Store.open(path)) as store:
        assert store.put_events([Event("u", "a", 1.0)]) == 1
        assert store.problem() == ""


ENDS = """
import os, sys
from pathlib import Path
from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import StorageError

store = Store.open(sys.argv[1])
Path(os.environ["SYNC_FAILS"]).touch()
try:
    store.put_events([Event("u", "a", 1.0)])
except StorageError as error:
    print(error.message)
store.close()
"""


def test_a_command_that_met_a_failed_sync_ends_after_services_have_learned_of_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "serendip.db"
    Store.create(path).close()
    with closing(Store.open(path)) as service:
        command = start_script(ENDS, path, tmp_path)
        while command.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                command.wait(LOOKS * ITEMS_EVERY_S)
            problem = service.problem()  # what a service looks for
        printed, errors = command.communicate()
        assert command.returncode == 0, errors
        assert "disk I/O error" in printed
        assert "the disk failed" in problem
        with pytest.raises(StorageError, match="the disk failed"):
            service.put_events([Event("u", "a", 2.0)])
    with closing(Store.open(path)) as again:  # in a process that has learned of it
        with pytest.raises(StorageError, match="the disk failed"):
            again.put_events([Event("u", "a", 3.0)])


def test_a_failure_is_told_on_a_disk_that_allows_no_more_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = tmp_path / "disk", tmp_path / "disk" / "s.db"
    folder.mkdir()
    teller, other, late = DiskFailure(path), DiskFailure(path), DiskFailure(folder / "late.db")
    teller.prepare()
    other.prepare()
    folder.rename(tmp_path / "gone")
    assert not other.is_told()
    teller.tell()
    assert other.is_told() and not caplog.records
    teller.close()
    assert other.is_told()
    late.tell()
    assert "no other process can be told that the disk of late.db failed" in caplog.text
    folder.mkdir()
    assert not late.is_told()
    late.tell()  # what did not succeed is tried again
    late.close()
    assert DiskFailure(folder / "late.db").is_told()


def test_a_failure_is_told_by_a_new_file_where_somebody_removed_the_old_one(tmp_path: Path) -> None:
    teller, other = (DiskFailure(tmp_path / "s.db") for _ in range(2))
    for one in (teller, other):
        one.prepare()
    (tmp_path / "s.db-failure").unlink()
    teller.tell()
    assert other.is_told()
