"""A disk that is full, and one that does not keep what it was told to keep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stored_files import fill, mounted

from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.store.store import Store
from serendip.errors import DiskFullError, StorageError

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


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A sync fails while the file exists that the environment names. */
static int fails(void) {
    const char *path = getenv("SYNC_FAILS");
    return path && access(path, F_OK) == 0;
}
int fsync(int file) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
int fdatasync(int file) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
"""

WRITES = """
import os, sys
from pathlib import Path
from serendip.data.event import Event
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


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler makes a sync fail here")
def test_after_a_failed_sync_nothing_more_is_acknowledged_until_a_restart(tmp_path: Path) -> None:
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        store.put_items([Item("a")])
    environment = {
        **os.environ,
        "LD_PRELOAD": os.fspath(shim),
        "SYNC_FAILS": os.fspath(tmp_path / "fails"),
    }
    done = subprocess.run(
        [sys.executable, "-c", WRITES, os.fspath(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    # The third write fails; the fifth would succeed, and is refused.
    assert done.stdout.strip() == "[0, 1] 1 True True"
    with closing(Store.open(path)) as store:
        assert store.put_events([Event("u", "a", 9.0)]) == 1
        assert store.count_events() >= 3
        assert store.problem() == ""


def test_other_errors_of_the_database_are_no_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "serendip.db"
    with closing(Store.create(path)) as store:
        path.unlink()
        with pytest.raises(StorageError) as caught:
            store.put_events(MANY[:1])
        assert not isinstance(caught.value, DiskFullError)
