from contextlib import closing
from pathlib import Path

import pytest
from stored_files import copy_to_serve, fill, mounted, remount

from serendip.data import Event, Item
from serendip.data.store.database import open_database
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import StorageError


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_an_engine_answers_from_a_read_only_disk_and_refuses_writes(
    trained_folder: Path, tmp_path: Path, trouble: str
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as folder:
        copy_to_serve(trained_folder, folder)
        if trouble == "full":
            fill(folder)
        else:
            remount(folder, "ro")
        with closing(Engine.open(folder)) as engine:
            assert engine.search("horror tale", user_id="u1").items
            assert engine.recommend(Request("home", "u1")).items
            assert engine.history("u1")
            assert trouble in engine.storage_problem()
            many = [Event("u1", "i1", float(number)) for number in range(10_000)]
            with pytest.raises(StorageError, match=r"^database serendip\.db"):
                engine.add_events(many)
            with pytest.raises(StorageError, match=r"^database serendip\.db"):
                engine.add_items([Item(f"new {n}", "x" * 60_000) for n in range(20)])
            assert engine.item("new 0") is None


def test_an_engine_opens_and_answers_while_a_writer_holds_the_lock(shop: Path) -> None:
    with closing(open_database(shop / "serendip.db")) as other, other.write():
        with closing(Engine.open(shop)) as engine:
            assert engine.search("horror tale", user_id="u1").items
            assert engine.history("u1")


def test_a_restart_and_a_compaction_change_no_answer(shop: Path) -> None:
    def answers(engine: Engine) -> list[list[tuple[str, float]]]:
        asked = [Request("home", f"u{user}", k=20) for user in range(4)]
        lists = [engine.recommend(request) for request in asked]
        lists += [engine.search(text, k=20) for text in ("horror tale", "comedy")]
        lists.append(engine.recommend(Request("similar", item_ids=("i2",), k=20)))
        return [[(item.item_id, item.score) for item in one.items] for one in lists]

    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item("new", "A new horror tale", attributes={"genre": "horror"})])
        engine.add_events([Event(f"u{n % 4}", f"i{n}", 2.0e9 + n, "like") for n in range(12)])
        engine.catch_up()
        before = answers(engine)
    with closing(Workspace.open(shop).open_store()) as store:
        assert store.pack() == 12
    for _ in range(2):
        with closing(Engine.open(shop)) as engine:
            assert answers(engine) == before
    assert len({tuple(one) for one in before}) > 1


def test_an_item_that_an_import_left_out_is_shown_until_the_next_training(shop: Path) -> None:
    with closing(Workspace.open(shop).open_store()) as store:
        first, *others = store.items()
        store.import_all(others, [])
        assert store.item(first.item_id) is None
    with closing(Engine.open(shop)) as engine:
        assert engine.item(first.item_id) is not None
        assert engine.delete_item(others[0].item_id)
        assert engine.item(others[0].item_id) is None
