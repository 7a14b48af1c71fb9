"""On a full disk something is kept for deletions and erasures; what adds something is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from stored_files import fill, mounted

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.store.reserve import SIZE, Reserve
from serendip.data.store.store import Store
from serendip.errors import DiskFullError


def test_a_full_disk_refuses_posts_and_obeys_deletions_and_erasures(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=48m") as folder:
        with closing(Store.create(folder / "s.db")) as store:
            store.put_items([Item(f"i{number}") for number in range(300)])
            store.put_events([Event(f"u{number}", "i1", 1.0) for number in range(300)])
            store.compact()
            store.keep_reserve()
            ballast = fill(folder)
            posts = [Event("u", "i1", 1.0, query="q" * 500) for _ in range(9_000)]
            for _ in range(2):  # before and after the room is given away
                with pytest.raises(DiskFullError):
                    store.put_events(posts)
                with pytest.raises(DiskFullError):
                    store.put_items([Item(f"n{number}", "x" * 9_000) for number in range(500)])
                for number in range(100):
                    store.delete_item(f"i{number}")
                    store.erase_user(f"u{number}")
                store.erase_item("i200")
            assert (store.count_items(), store.count_events()) == (199, 200)
            assert "full" in store.problem()
            with pytest.raises(DiskFullError):
                store.put_events([Event("u", "i1", 1.0)])
            ballast.unlink()
            assert store.problem() == ""
            assert store.put_events([Event("u", "i1", 1.0)]) == 1
            store.keep_reserve()
            assert (folder / "s.db-reserve").stat().st_size == SIZE
        with closing(Store.open(folder / "s.db")) as store:
            assert (store.count_items(), store.count_events()) == (199, 201)


def test_a_disk_without_room_for_the_file_is_used_as_before(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", f"size={SIZE}") as folder:
        with closing(Store.create(folder / "s.db")) as store:
            assert store.put_events([Event("u", "i1", 1.0)]) == 1
            assert Reserve(folder / "other").release() is False
        assert [path.name for path in folder.glob("*reserve")] == []
