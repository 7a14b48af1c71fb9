import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from stored_files import damage_index, fill, mounted, remount

from serendip.data import Event, Item
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.errors import StorageError

EVENT = Event("u", "a", 1.0)


def filled(path: Path) -> Path:
    """A database with one item and one event, closed."""
    with closing(Store.create(path)) as store:
        store.put_items([Item("a")])
        store.put_events([EVENT])
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled(tmp_path / "serendip.db")


def test_what_is_no_database_of_ours_is_an_error_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with pytest.raises(StorageError, match=r"serendip\.db does not exist.*backup.*import") as told:
        Store.open(path)
    assert str(tmp_path) not in str(told.value)
    assert list(tmp_path.iterdir()) == []

    path = tmp_path / "serendip.db"
    path.touch()
    with pytest.raises(StorageError, match="has no tables"):
        Store.open(path)


def test_the_files_of_a_new_database_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        store.put_items([Item("a")])
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize(
    "change", ["UPDATE serendip_version SET version_num = '9999'", "DROP TABLE serendip_version"]
)
def test_a_database_of_another_version_is_refused_with_the_next_step(
    path: Path, change: str
) -> None:
    with closing(open_database(path)) as database:
        with database.write() as connection:
            connection.exec_driver_sql(change)
        assert database.scrub()  # nothing is left in the log beside it
    before = path.read_bytes()
    for open_store in (Store.open, Store.create):
        with pytest.raises(StorageError, match="of another version: it has revision") as told:
            open_store(path)
        assert "Keep it. Use the version of Serendip that made it" in told.value.hint
    assert path.read_bytes() == before
    assert not path.with_name(path.name + "-wal").exists()


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_nothing_is_acknowledged_into_a_file_that_is_gone_and_reads_go_on(
    path: Path, replaced: bool
) -> None:
    other = filled(path.with_name("other.db"))
    with closing(Store.open(path)) as store:
        store.database.keep_open()
        assert store.database.problem() == ""
        path.unlink()
        if replaced:
            shutil.move(other, path)
        said = "was replaced while it was open" if replaced else "was deleted while it was open"
        for write in (
            lambda: store.put_events([EVENT]),
            lambda: store.put_items([Item("b")]),
            lambda: store.delete_item("a"),
        ):
            with pytest.raises(StorageError, match=rf"serendip\.db {said}.*[Rr]estart"):
                write()
        assert said in store.database.problem()
        entered = threading.Barrier(8)
        counts: list[int] = []

        def count() -> None:
            entered.wait()
            counts.append(store.log.count())

        readers = [threading.Thread(target=count) for _ in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert counts == [1] * 8


def test_a_write_during_which_the_file_is_deleted_is_not_acknowledged(path: Path) -> None:
    def events() -> Iterator[Event]:
        yield EVENT
        path.unlink()

    with closing(Store.open(path)) as store, pytest.raises(StorageError, match="was deleted"):
        store.import_all([Item("a")], events())


def test_a_file_that_comes_back_is_written_to_again(path: Path) -> None:
    away = path.with_name("away.db")
    with closing(Store.open(path)) as store:
        path.rename(away)
        with pytest.raises(StorageError, match="was deleted"):
            store.put_events([EVENT])
        away.rename(path)
        assert store.put_events([EVENT]) == 1
        assert store.database.problem() == ""


def test_a_second_opening_keeps_the_locks_of_the_first(path: Path) -> None:
    """Closing any descriptor of a file drops the locks of its process on it."""

    def find_locks() -> list[str]:
        held = Path("/proc/locks").read_text().splitlines()
        return [
            one for one in held if f":{path.stat().st_ino} " in one and f" {os.getpid()} " in one
        ]

    with closing(open_database(path)) as first, first.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM events")
        before = find_locks()
        with closing(open_database(path, create=True)):
            assert before and set(before) <= set(find_locks())


def test_a_damaged_page_is_found_by_the_integrity_check(path: Path) -> None:
    with closing(Store.open(path)) as store:
        assert store.database.integrity() == []
        store.import_all([Item(f"i{number}", "x" * 200) for number in range(200)], [])
    damage_index(path)
    with closing(Store.open(path)) as store:
        assert store.count_items() == 201  # nothing else notices
        assert "items_1" in store.database.integrity()[0]


CRASHED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_database_file import filled
from serendip.data.store.store import Store
store = Store.create(sys.argv[1])
filled(Path(sys.argv[1]))
os._exit(0)
"""


def left_by_a_crash(path: Path) -> Path:
    """A database whose content is in its ``-wal`` alone."""
    command = [sys.executable, "-c", CRASHED, os.fspath(path), os.fspath(Path(__file__).parent)]
    subprocess.run(command, check=True)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    return path


@pytest.mark.parametrize("make", [filled, left_by_a_crash], ids=["closed", "crashed"])
def test_it_starts_on_a_full_disk_and_writes_again_when_there_is_room(make, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as folder:
        path = make(folder / "serendip.db")
        path.with_name("serendip.db-shm").unlink(missing_ok=True)
        ballast = fill(folder)
        with closing(Store.open(path)) as store:
            store.database.keep_open()
            assert (store.count_items(), store.log.active_users(9)) == (1, [("u", 1)])
            assert "its disk is full" in store.database.problem()
            many = [Event("u", "a", float(number)) for number in range(10_000)]
            with pytest.raises(StorageError, match=r"serendip\.db .*full"):
                store.put_events(many)
            assert store.log.count() == 1
            ballast.unlink()
            assert store.database.problem() == ""
            with closing(Store.open(path)) as other:  # nobody is locked out any more
                assert store.put_events([EVENT]) == 1
                assert (store.log.count(), other.log.count()) == (2, 2)
            assert counted_elsewhere(path) == 2


@pytest.mark.parametrize("left", ["closed", "crashed", "crashed without -shm"])
def test_it_starts_on_a_read_only_disk_and_writes_again_when_it_may(
    left: str, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=8m") as folder:
        make = filled if left == "closed" else left_by_a_crash
        path = make(folder / "serendip.db")
        if left.endswith("-shm"):
            path.with_name("serendip.db-shm").unlink()
        remount(folder, "ro")
        with closing(Store.open(path)) as store:
            store.database.keep_open()
            assert (store.count_items(), store.log.active_users(9)) == (1, [("u", 1)])
            assert "read-only" in store.database.problem()
            with pytest.raises(StorageError, match=r"serendip\.db: .*readonly"):
                store.put_events([EVENT])
            remount(folder, "rw")
            assert store.database.problem() == ""
            assert store.put_events([EVENT]) == 1
            assert store.log.count() == 2


def counted_elsewhere(path: Path) -> int:
    code = "import sys; from serendip.data.store.store import Store; s = Store.open(sys.argv[1]); "
    command = [sys.executable, "-c", f"{code}print(s.log.count())", os.fspath(path)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def test_threads_that_create_a_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    """SQLite refuses the second of two that turn on the write-ahead log, and lets it not wait."""
    start, problems = threading.Barrier(6), list[Exception]()

    def create(path: Path) -> None:
        start.wait()
        try:
            Store.create(path).close()
        except StorageError as error:
            problems.append(error)

    for number in range(40):
        path = tmp_path / f"{number}.db"
        threads = [threading.Thread(target=create, args=(path,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Store.exists(path)
    assert problems == []
