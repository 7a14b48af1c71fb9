"""Erasure takes effect in every worker at once, and leaves no byte after the next training."""

from __future__ import annotations

import errno
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from failing_sync import run_script
from postgres_server import on_both_databases
from small_shop import WITHOUT_SEARCHES

from serendip.content.posted_media import EncodedFile, PostedMediaTable
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.log.segment_folder import SegmentFolder
from serendip.data.store.tables.generated_texts import GeneratedText
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import (
    LONGEST_RETRY_S,
    REST,
    RETRY_S,
    Eraser,
    RemainsRemover,
    remove_remains,
)
from serendip.engine.artefacts.generations import current_name, rollback
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, NotTrainedError, StorageError
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.train import train_workspace
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.scratch import scratch_folder

PERSON, TEXT, COUNTRY = "canary-7f3d@example.com", "comedy tale canaryquery", "Canaryland"


def contents(path: Path) -> bytes:
    """The bytes of a file, of compressed ones also what is in them."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        return raw + repr(pq.read_table(path).to_pydict()).encode()
    if path.suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return raw + b"".join(archive.read(name) for name in archive.namelist())
    return raw


def find(folder: Path, *texts: str) -> set[str]:
    """Files below a folder that have one of the texts."""
    wanted = [text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-32-le")]
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(text in contents(path) for text in wanted)
    }


def settle(engine: Engine) -> None:
    """Wait for the end of the process that removes bytes beside an engine."""
    settle_threads()


def settle_threads() -> None:
    """Wait for the end of all processes that remove bytes."""
    import threading

    for thread in threading.enumerate():
        if thread.name == "eraser":
            thread.join(60)


def searched(engine: Engine) -> tuple[str, ...]:
    """What may be suggested to the person again."""
    return tuple(engine._suggestion_user(engine.state, PERSON)[1].searched)


def states(receipt: Any) -> dict[str, str]:
    return {place.place: place.state for place in receipt.places}


def learn_from_no_searches(shop: Path) -> None:
    """Let the next training be a short one; what is stored has its places in it all the same."""
    with (shop / "serendip.toml").open("a") as settings:
        settings.write(WITHOUT_SEARCHES)


@pytest.fixture(scope="module")
def haunted_once(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained shop in whose tail, segments, attributes and suggestions a person is."""
    shop = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("haunted") / "shop"))
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_events(
            [
                Event(PERSON, f"i{number}", 1.6e9 + number, "click", country=COUNTRY)
                for number in range(8)
            ]
        )
        store.put_events(
            [Event(PERSON, "i1", 1.6e9 + 50, "click", query=TEXT, request_id="canary-request")]
        )
        store.compact()
        store.put_events([Event(PERSON, f"i{number}", 1.7e9) for number in range(3)])
        store.put_events([Event(PERSON, "i9", 1.7e9, "hide", session_id="canary-session")])
        store.users.put(User(PERSON, {"plan": "canaryplan", "country": COUNTRY}))
    learn_from_no_searches(shop)
    train_workspace(JobContext.open(shop))
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_events([Event(PERSON, "i5", 1.7e9 + 9, "click", query=TEXT)])
    (shop / "embeddings").mkdir()
    pq.write_table(pq.read_table(*[_user_table(shop)]), shop / "embeddings" / "users.parquet")
    return shop


@pytest.fixture
def haunted(haunted_once: Path, tmp_path: Path, move_database: Callable[[Path], Path]) -> Path:
    """A copy of it that a test may change."""
    return move_database(Path(shutil.copytree(haunted_once, tmp_path / "haunted")))


def _user_table(shop: Path) -> str:
    import pyarrow as pa

    path = shop / "embeddings" / "users.parquet"
    pq.write_table(pa.table({"user_id": [PERSON], "vector": [[1.0]]}), path)
    return str(path)


@on_both_databases
def test_every_worker_obeys_at_once_and_the_receipt_names_what_is_left(haunted: Path) -> None:
    with closing(Engine.open(haunted)) as one, closing(Engine.open(haunted)) as other:
        for engine in (one, other):  # both have everything in their caches
            assert engine.chosen(PERSON)
            assert TEXT in searched(engine)
            assert PERSON in dict(engine.users(99))
        receipt = one.erase_user(PERSON)
        assert receipt.events == 14
        for engine in (one, other):
            assert engine.chosen(PERSON) == engine.history(PERSON) == []
            assert engine.user(PERSON) == User(PERSON)
            assert PERSON not in dict(engine.users(999))
            assert searched(engine) == ()
            stranger = engine.recommend(Request("home", user_id="nobody at all"))
            erased = engine.recommend(Request("home", user_id=PERSON))
            assert [item.item_id for item in erased.items] == [
                item.item_id for item in stranger.items
            ]
        assert states(receipt)["generations"] == "pending"
        assert PERSON not in repr(receipt)
        settle(one)
        again = one._eraser.find_receipt(PERSON)
        assert again is not None
        assert (again.digest, again.erased_at) == (receipt.digest, receipt.erased_at)
        pending = {place for place, state in states(again).items() if state == "pending"}
        assert pending == {"generations"}


def test_no_byte_is_left_after_the_erasure_and_the_next_training(haunted: Path) -> None:
    clues = (PERSON, TEXT, "canaryplan", "canary-request", "canary-session", COUNTRY)
    assert {path.partition("/")[0] for path in find(haunted, *clues)} >= {
        *("serendip.db", "log", "embeddings"),
    }
    workspace = Workspace.open(haunted)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        eraser.erase_user(PERSON)
        eraser.remove_remains()
        left = find(haunted, *clues)
        assert {path for path in left if not path.startswith("generations/")} == set()
        before = current_name(workspace.generations)
        train_workspace(JobContext.open(haunted))
        assert find(haunted, *clues) == set()
        receipt = eraser.find_receipt(PERSON)
        assert receipt is not None
        assert receipt.is_complete
        assert current_name(workspace.generations) > before
        with pytest.raises(NotTrainedError):
            rollback(workspace.generations)


def test_files_do_not_bring_an_erased_user_back(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        receipt = Eraser(workspace, store).erase_user("u1")
        assert receipt.events > 0
        assert "events.csv" in repr(receipt)
    summary = import_files(workspace)
    assert summary["erased_events"] == receipt.events
    with closing(workspace.open_store()) as store:
        assert store.history("u1", 9) == []
        assert store.history("u2", 9) != []


def test_a_killed_removal_and_a_killed_training_are_cleaned_up(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    scratch = workspace.training / "scratch-of-a-killed-training"
    scratch.mkdir(parents=True)
    (scratch / "users.text.npy").write_bytes(b"u1")
    with closing(workspace.open_store()) as store:
        receipt = Eraser(workspace, store).erase_user("u1")
        assert states(receipt)["scratch"] == states(receipt)["event log"] == "pending"
        remove_remains(str(fresh))
        receipt = Eraser(workspace, store).renew(receipt)
    assert receipt.is_complete
    assert not scratch.exists()


@pytest.mark.parametrize("place", ["training", "reports"])  # of an export, of an evaluation
def test_copies_of_a_job_are_pending_while_it_runs_and_removed_if_it_was_killed(
    fresh: Path, place: str
) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        with scratch_folder(fresh / place) as running:
            copied = running.with_name(f"{running.name}-killed")
            receipt = eraser.erase_user("u1")
            eraser.remove_remains()
            assert running.is_dir()
            assert not eraser.has_remains()
            assert states(eraser.renew(receipt))["scratch"] == "pending"
            shutil.copytree(running, copied)
            assert eraser.has_remains()
            eraser.remove_remains()
            assert running.is_dir()
            assert not copied.exists()
        assert eraser.renew(receipt).is_complete


@on_both_databases
def test_a_wrong_id_is_refused_and_an_unknown_user_gets_a_receipt(engine: Engine) -> None:
    with pytest.raises(DataError, match="cannot be erased"):
        engine.erase_user("")
    receipt = engine.erase_user("never seen")
    assert receipt.events == 0
    assert {place for place, state in states(receipt).items() if state == "pending"} == {"database"}
    settle(engine)
    again = engine._eraser.find_receipt("never seen")
    assert again is not None
    assert again.is_complete


def test_of_an_erased_item_only_the_id_is_left(shop: Path) -> None:
    learn_from_no_searches(shop)
    workspace = Workspace.open(shop)
    clues = ("canarytitle", "canarytext", "canarybrand", "canarywords", "canaryfile")
    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item("odd", "canarytitle", "canarytext", {"brand": "canarybrand"})])
    with closing(workspace.open_store()) as store:
        text = GeneratedText("odd", "keywords", "rules", "canarywords", "m", "p", "d")
        store.generated_texts.put([text])
        with closing(PostedMediaTable.create(workspace.posted_media)) as table:
            table.put([EncodedFile("odd", "image", "canaryfile", "e", None)])
        train_workspace(JobContext.open(shop))
        assert find(shop, *clues)
        with closing(Engine.open(shop)) as engine:
            assert engine.item("odd") is not None
            eraser = Eraser(workspace, store)
            receipt = eraser.erase_item("odd")
            engine.catch_up()
            assert engine.item("odd") is None
            found = engine.search("canarytitle", k=99).items
            assert "odd" not in {item.item_id for item in found}
        assert states(receipt)["generations"] == "pending"
        eraser.remove_remains()
        assert {path.partition("/")[0] for path in find(shop, *clues)} == {"generations"}
        train_workspace(JobContext.open(shop))
        assert find(shop, *clues) == set()
        assert eraser.renew(receipt).is_complete
        import_files(workspace)
        assert store.item("odd") is None
        assert states(eraser.erase_item("never seen"))["id of the item"] == "kept"
        with pytest.raises(DataError, match="cannot be erased"):
            eraser.erase_item("")


def test_a_removal_that_met_a_lock_is_gone_on_with_by_a_service_and_an_import(fresh: Path) -> None:
    workspace, now = Workspace.open(fresh), [0.0]
    remover = RemainsRemover(fresh, lambda: now[0])
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        with exclusive_lock(fresh / "log"):
            eraser.erase_user("u1")
            remover.begin()
            settle_threads()
        assert eraser.has_remains()
        remover.resume(eraser.has_remains)
        settle_threads()
        assert eraser.has_remains()
        now[0] += RETRY_S
        remover.resume(eraser.has_remains)
        settle_threads()
        assert not eraser.has_remains()
        eraser.erase_user("u2")
        import_files(workspace)
        assert not eraser.has_remains()
    remover.close()


class Removal:
    """Stands for a process that takes ten seconds."""

    def __init__(self, now: list[float]) -> None:
        self._now, self.begun = now, list[float]()

    def __call__(self, folder: str) -> Removal:
        return self

    def run(self) -> int:
        self.begun.append(self._now[0])
        self._now[0] += 10.0
        return 0

    def stop(self) -> None:
        pass


def test_erasures_share_removals_and_a_service_rests_between_them(tmp_path: Path) -> None:
    now = [0.0]
    removal = Removal(now)
    remover = RemainsRemover(tmp_path, lambda: now[0], removal)
    for _ in range(200):  # erasures, one per second
        remover.begin()
        settle_threads()
        now[0] += 1.0
    assert [int(begun // 10) for begun in removal.begun] == [0, 5, 10, 15, 20]
    now[0] += 10 * REST
    remover.resume(lambda: False)  # what the last ones asked for
    settle_threads()
    assert len(removal.begun) == 6
    remover.resume(lambda: False)
    assert len(removal.begun) == 6
    remover.close()


class FailingRemoval(Removal):
    """Stands for a process that cannot be started the first time."""

    def run(self) -> int:
        super().run()
        if len(self.begun) == 1:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return os.EX_IOERR


def test_a_process_that_cannot_be_started_is_started_again(tmp_path: Path) -> None:
    now, failures = [0.0], list[float]()
    removal = FailingRemoval(now)
    remover = RemainsRemover(
        tmp_path, lambda: now[0], removal, on_failed_sync=lambda: failures.append(now[0])
    )
    remover.begin()
    settle_threads()
    assert (removal.begun, failures) == ([0.0], [])
    now[0] += RETRY_S
    remover.resume(lambda: False)  # it is still wanted
    settle_threads()
    assert removal.begun == [0.0, 10.0 + RETRY_S]
    assert failures == [now[0]]  # of the second one, after which nothing is written
    now[0] += 10 * LONGEST_RETRY_S
    remover.begin()
    remover.resume(lambda: True)
    settle_threads()
    assert len(removal.begun) == 2
    remover.close()


REMOVES = """
import os, sys, threading
from pathlib import Path
from serendip.data.events.event import Event
from serendip.engine.engine import Engine
from serendip.errors import StorageError

if __name__ == "__main__":
    engine, switch = Engine.open(Path(sys.argv[1])), Path(os.environ["SYNC_FAILS"])
    start, run = threading.Thread.start, threading.Thread.run

    def start_then_fail(thread):
        if thread.name == "eraser":
            switch.touch()  # after the erasure, before its removal
        start(thread)

    threading.Thread.start = start_then_fail
    engine.erase_user("u1")
    for thread in threading.enumerate():
        if thread.name == "eraser":
            thread.join()
    switch.unlink()
    try:
        print(engine.add_events([Event("u2", "i1", 1.7e9)]))
    except StorageError as error:
        print("restart" in error.hint, bool(engine.storage_problem()))
    engine.close()
"""


def test_a_service_obeys_a_failed_sync_of_the_process_that_removes_bytes(
    shop: Path, tmp_path: Path
) -> None:
    assert run_script(REMOVES, shop, tmp_path) == "True True"


def test_what_stays_is_looked_for_less_and_less_often(tmp_path: Path) -> None:
    now, looks = [0.0], list[float]()
    remover = RemainsRemover(tmp_path, lambda: now[0], Removal([0.0]))

    def has_remains() -> bool:
        looks.append(now[0])
        return True

    while now[0] < 9 * RETRY_S:
        remover.resume(has_remains)
        settle_threads()
        now[0] += RETRY_S / 2
    assert looks == [RETRY_S, 3 * RETRY_S, 7 * RETRY_S]
    remover.close()


def test_a_receipt_names_a_segment_that_cannot_be_read(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        (name,) = store.segment_names()
        store.put_events([Event("u1", "i1", 1.7e9)])
    path = fresh / "log" / name / "times.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        receipt = eraser.erase_user("u1")
        eraser.remove_remains()
        receipt = eraser.renew(receipt)
        assert (receipt.events, states(receipt)["event log"]) == (1, "pending")
        assert states(receipt)["database"] == "erased"
        assert name in repr(receipt)
    path.write_bytes(content)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        assert store.history("u1", 9) == []
        eraser.remove_remains()
        assert states(eraser.renew(receipt))["event log"] == "erased"


def test_a_receipt_names_what_was_replaced_and_could_not_be_removed(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment is written again, and the storage that has the old one is out of reach."""
    workspace, keep_only = Workspace.open(fresh), SegmentFolder.keep_only

    def keep_all_later(folder: SegmentFolder, log: str, names: Collection[str]) -> None:
        if not old <= set(names):
            raise StorageError("out of reach")
        keep_only(folder, log, names)

    with closing(workspace.open_store()) as store:
        eraser, old = Eraser(workspace, store), set(store.segment_names())
        receipt = eraser.erase_user("u1")
        with monkeypatch.context() as patched:
            patched.setattr(SegmentFolder, "keep_only", keep_all_later)
            with pytest.raises(StorageError, match="out of reach"):
                eraser.remove_remains()
        assert old.isdisjoint(store.segment_names())
        assert store.count_hidden_segments() == 0
        assert states(eraser.renew(receipt))["event log"] == "pending"
        eraser.remove_remains()
        assert states(eraser.renew(receipt))["event log"] == "erased"
        assert not any((fresh / "log" / name).exists() for name in old)
        # An import replaces a segment with their bytes, after everything else was removed.
        old = set(store.segment_names())
        with monkeypatch.context() as patched:
            patched.setattr(SegmentFolder, "keep_only", keep_all_later)
            with pytest.raises(StorageError, match="out of reach"):
                import_files(workspace)
        assert not store.has_remains()
        assert eraser.has_remains()
        assert not eraser.renew(receipt).is_complete
        eraser.remove_remains()
        assert not eraser.has_remains()
        assert eraser.renew(receipt).is_complete


def test_what_a_killed_training_left_is_found_after_the_removal_that_it_outlived(
    fresh: Path,
) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        with exclusive_lock(workspace.training):  # it runs
            scratch = workspace.training / "scratch-of-a-training"
            scratch.mkdir()
            (scratch / "users.text.npy").write_bytes(b"u1")
            receipt = eraser.erase_user("u1")
            eraser.remove_remains()
            assert not eraser.has_remains()
            assert states(eraser.renew(receipt))["scratch"] == "pending"
        assert eraser.has_remains()
        eraser.remove_remains()
        assert not scratch.exists()
        assert not eraser.has_remains()
        assert eraser.renew(receipt).is_complete


def test_a_receipt_names_exports_and_what_an_export_left_behind(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    workspace.embeddings.mkdir()
    (workspace.embeddings / "users.parquet.part").write_bytes(b"u1")
    (workspace.embeddings / "items.parquet").write_bytes(b"i1")
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        user, item = states(eraser.erase_user("u1")), states(eraser.erase_item("i1"))
        assert (user["exported vectors"], user["exports"]) == ("pending", "erased")
        assert (item["exported vectors"], item["exports"]) == ("kept", "erased")
        eraser.remove_remains()
        assert not (workspace.embeddings / "users.parquet.part").exists()
    assert item["reports, synonyms, labels, answers of an LLM"] == "kept"
