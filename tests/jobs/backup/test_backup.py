import hashlib
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from serendip.data import Event, Item
from serendip.data.api_key import issue_key
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.data.store.tables.erasures import DataCopy
from serendip.engine.artefacts.erasure import Eraser
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, DataError, SerendipError, StorageError
from serendip.jobs.backup.restore import restore
from serendip.jobs.backup.save import BackupFolder, back_up, verify
from serendip.runtime.atomic_files import scratch_folder
from serendip.runtime.versions import seal


def save(shop: Path, target: Path) -> None:
    back_up(Workspace.open(shop), str(target))


def scratch_of(folder: Path) -> list[Path]:
    return [*folder.glob("training/serendip-*"), *folder.glob("serendip-*")]


@pytest.fixture
def saved(fresh: Path, tmp_path: Path) -> Path:
    save(fresh, tmp_path / "saved")
    return tmp_path / "saved"


def test_a_restored_workspace_serves_what_was_backed_up(shop: Path, tmp_path: Path) -> None:
    with closing(Engine.open(shop)) as engine:
        engine.add_events([Event("new", "i3", 1.7e9)])
        engine.add_items([Item("posted", "The zebra quest")])
        engine.delete_item("i7")
        engine.catch_up()
        before = engine.recommend(Request("home", user_id="new", k=5))
        save(shop, tmp_path / "saved")
    summary = restore(str(tmp_path / "saved"), tmp_path / "restored")
    assert (summary.generation, summary.items) == ("gen-1", 60)
    with closing(Engine.open(tmp_path / "restored")) as engine:
        after = engine.recommend(Request("home", user_id="new", k=5))
        assert [item.item_id for item in after.items] == [item.item_id for item in before.items]
        assert engine.search("zebra").items[0].item_id == "posted"
        assert engine.item("i7") is None
        assert engine.add_events([Event("new", "i4", 1.7e9)]) == 1


def require_all(folder: Path, acknowledged: list[int]) -> None:
    """Check that a workspace has what each writer wrote, up to some event, in order."""
    with closing(Workspace.open(folder).open_store()) as store:
        assert store.database.integrity() == []
        for place, count in enumerate(acknowledged):
            items = [event.item_id for event in store.log.history(f"w{place}", 99_999)]
            assert items == [f"n{step + 1}" for step in range(len(items))]
            assert len(items) >= count


def test_everything_acknowledged_before_is_in_a_backup_under_load(
    fresh: Path, tmp_path: Path
) -> None:
    workspace, counts, ended = Workspace.open(fresh), [0] * 4, threading.Event()

    def write(place: int) -> None:
        with closing(workspace.open_store()) as store:
            while not ended.is_set():
                event = Event(f"w{place}", f"n{counts[place] + 1}", counts[place] + 1.0)
                counts[place] += store.put_events([event])

    def pack() -> None:
        with closing(workspace.open_store()) as store:
            while not ended.is_set():
                with suppress(StorageError):  # the backup packs
                    store.pack()

    acknowledged = []
    threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]
    threads.append(threading.Thread(target=pack))
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            while sum(counts) < 20 * (number + 1):
                pass
            acknowledged.append(list(counts))
            save(fresh, tmp_path / f"saved-{number}")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    for number, before in enumerate(acknowledged):
        restore(str(tmp_path / f"saved-{number}"), tmp_path / f"r{number}")
        require_all(tmp_path / f"r{number}", before)
    assert scratch_of(fresh) == []


def test_a_workspace_is_never_overwritten(saved: Path, fresh: Path, tmp_path: Path) -> None:
    for place in (fresh, fresh / "serendip.toml"):
        with pytest.raises(ConfigError, match="is not empty"):
            restore(str(saved), place)
    (tmp_path / "empty").mkdir()
    assert restore(str(saved), tmp_path / "empty").items == 60
    with pytest.raises(ConfigError, match="is a backup"):
        restore(str(saved), tmp_path / "restored", erasures_of=saved)


def _reseal(saved: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Give a changed backup a manifest that fits."""
    manifest = json.loads((saved / "manifest.json").read_text())
    change(manifest)
    (saved / "manifest.json").write_text(seal(manifest))


def _add(saved: Path, name: str, content: bytes = b"x") -> None:
    """Name a file in the manifest; the file is written if its name is harmless."""

    def change(manifest: dict[str, object]) -> None:
        manifest["files"][name] = hashlib.sha256(content).hexdigest()  # type: ignore[index]

    _reseal(saved, change)
    if not name.startswith("/") and ".." not in name:
        path = saved / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _damage_database(saved: Path) -> None:
    content = b"SQLite format 3\0" + b"x" * 8192
    _rewrite(saved / "serendip.db", content)
    _add(saved, "serendip.db", content)


def _execute(saved: Path, statement: str) -> None:
    """Change the database of a backup, and give it a manifest that fits."""
    with closing(sqlite3.connect(saved / "serendip.db")) as connection:
        connection.execute(statement)
        connection.commit()
    _add(saved, "serendip.db", (saved / "serendip.db").read_bytes())


_TRIGGER = (
    "CREATE TRIGGER again AFTER DELETE ON users BEGIN "
    "INSERT INTO users VALUES (OLD.user_id, OLD.attributes, OLD.origin); END"
)

HOSTILE: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda saved: (saved / "manifest.json").unlink(),
    "manifest halved": lambda saved: os.truncate(saved / "manifest.json", 99),
    "other format": lambda saved: _reseal(saved, lambda manifest: manifest.update(format=99)),
    "up": lambda saved: _add(saved, "../escaped"),
    "absolute": lambda saved: _add(saved, "/escaped"),
    "control character": lambda saved: _add(saved, "media/a\nb"),
    "other file": lambda saved: _add(saved, "sitecustomize.py"),
    "extra file": lambda saved: (saved / "extra").write_bytes(b"x"),
    "missing file": lambda saved: (saved / "serendip.toml").unlink(),
    "altered file": lambda saved: _rewrite(
        saved / "serendip.toml", (saved / "serendip.toml").read_bytes().replace(b"2", b"3")
    ),
    "linked folder": lambda saved: (saved / "media").symlink_to(saved.parent),
    "pipe": lambda saved: os.mkfifo(saved / "pipe"),
    "no database": lambda saved: (saved / "serendip.db").unlink(),
    "damaged database": _damage_database,
    "trigger": lambda saved: _execute(saved, _TRIGGER),
    "view": lambda saved: _execute(saved, "CREATE VIEW other AS SELECT 1"),
    "virtual table": lambda saved: _execute(saved, "CREATE VIRTUAL TABLE t USING fts5(x)"),
    "constraint": lambda saved: _execute(saved, "CREATE TABLE t (x UNIQUE ON CONFLICT IGNORE)"),
    "no time": lambda saved: _reseal(saved, lambda manifest: manifest.pop("created")),
    "wrong settings": lambda saved: (
        _rewrite(saved / "serendip.toml", b"[nonsense]\n"),
        _add(saved, "serendip.toml", b"[nonsense]\n"),
    ),
    "broken generation": lambda saved: _add(saved, "generations/CURRENT", b"gen-1\n"),
    "generation elsewhere": lambda saved: _add(saved, "generations/CURRENT", b"../../x\n"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_backup_is_refused_and_nothing_appears(
    saved: Path, tmp_path: Path, attack: str
) -> None:
    HOSTILE[attack](saved)
    before = sorted(path.name for path in tmp_path.iterdir())
    target = tmp_path / "restored"
    with pytest.raises(SerendipError) as refused:
        restore(str(saved), target)
    assert isinstance(refused.value, ArtefactError | StorageError | ConfigError)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not Path("/escaped").exists()


def patch_copies(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], object]) -> None:
    """Do something before each file that a backup copies, or links or makes."""
    copy = shutil.copyfile

    def patched(source: Path, target: Path, **options: bool) -> None:
        before(Path(target).name)
        copy(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", patched)


def test_an_error_while_writing_leaves_nothing_and_a_folder_of_the_admin_as_it_was(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        if name == "manifest.json":
            raise OSError(28, "No space left on device")

    patch_copies(monkeypatch, fail)
    (tmp_path / "mine").mkdir(mode=0o750)
    before = (tmp_path / "mine").stat()
    for place in (tmp_path / "saved", tmp_path / "mine"):
        with pytest.raises(StorageError, match=r"No space left.*Nothing is left there"):
            save(shop, place)
    assert not (tmp_path / "saved").exists()
    after = (tmp_path / "mine").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert not list((tmp_path / "mine").iterdir())
    assert scratch_of(shop) == []
    with closing(Workspace.open(shop).open_store()) as store:
        assert store.backups.all() == []


def test_a_backup_is_known_from_before_its_first_byte(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[str] = []

    def look(name: str) -> None:
        with closing(Workspace.open(fresh).open_store()) as store:
            known.extend(one.place for one in store.backups.all())

    patch_copies(monkeypatch, look)
    save(fresh, tmp_path / "saved")
    assert set(known) == {str(tmp_path / "saved")}


def test_what_a_killed_backup_left_is_removed_by_the_next(fresh: Path, tmp_path: Path) -> None:
    def leave(folder: Path) -> None:
        with scratch_folder(folder) as running:
            (running / "serendip.db").write_bytes(b"half")
            shutil.copytree(running, running.with_name(f"{running.name}-killed"))

    leave(tmp_path / "saved")
    save(fresh, tmp_path / "saved")
    assert scratch_of(tmp_path / "saved") == []
    leave(fresh / "training")
    assert scratch_of(fresh)
    save(fresh, tmp_path / "second")
    assert scratch_of(fresh) == []


def test_who_was_erased_after_a_backup_is_erased_from_the_restored_one(
    fresh: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        eraser.erase_user("u0")
        eraser.remove_remains()
        save(fresh, tmp_path / "saved")
        receipt = eraser.erase_user("u1")
        eraser.erase_user("never seen")
        eraser.erase_item("i3")
        eraser.remove_remains()
        pending = {
            place.place: place.detail
            for place in eraser.renew(receipt).places
            if place.state == "pending"
        }
        detail = "were made before: delete them, then `serendip backup --forget`"
        assert pending == {"backups": f"{tmp_path / 'saved'} {detail}"}
    plain = restore(str(tmp_path / "saved"), tmp_path / "plain")
    obedient = restore(str(tmp_path / "saved"), tmp_path / "obedient", fresh)
    assert (plain.erased_users, plain.erased_items) == (0, 0)
    assert (obedient.erased_users, obedient.erased_items) == (1, 1)
    for folder, count, item in (("plain", 1, True), ("obedient", 0, False)):
        with closing(Workspace.open(tmp_path / folder).open_store()) as store:
            assert store.log.history("u0", 9) == []
            assert min(1, len(store.log.history("u1", 9))) == count
            assert (store.item("i3") is not None) == item
            late = [Event("never seen", "i1", 1.0)]
            assert store.put_events(late) == count
    (tmp_path / "saved").rename(tmp_path / "elsewhere")
    with closing(workspace.open_store()) as store:
        assert not Eraser(workspace, store).renew(receipt).is_complete
        store.backups.forget(str(tmp_path / "saved"))
        assert Eraser(workspace, store).renew(receipt).is_complete


def test_the_erasures_of_another_shop_are_no_erasures_of_this_one(
    fresh: Path, saved: Path, tmp_path: Path
) -> None:
    for folder in (fresh, tmp_path / "other"):
        if folder != fresh:
            restore(str(saved), folder)
        with closing(Workspace.open(folder).open_store()) as store:
            store.erase_user("u1")
    save(fresh, tmp_path / "second")
    with pytest.raises(DataError, match="under different keys"):
        restore(str(tmp_path / "second"), tmp_path / "restored", tmp_path / "other")
    assert not (tmp_path / "restored").exists()


def test_a_backup_with_bytes_of_erased_users_counts_as_older(fresh: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        receipt = eraser.erase_user("u1")
        with (
            closing(open_database(fresh / "serendip.db")) as other,
            other.exclusive("packs"),
        ):
            save(fresh, tmp_path / "saved")
        eraser.remove_remains()
        assert not eraser.renew(receipt).is_complete
    restore(str(tmp_path / "saved"), tmp_path / "restored")
    with closing(Store.open(tmp_path / "restored" / "serendip.db")) as store:
        assert store.log.history("u1", 9) == []


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _rewrite(path, bytes(content))


def test_a_damaged_generation_does_not_keep_items_and_events_from_coming_back(
    shop: Path, tmp_path: Path
) -> None:
    save(shop, tmp_path / "sound")
    for folder in (shop, tmp_path / "sound"):
        _flip(max((folder / "generations").glob("gen-*/*"), key=lambda path: path.stat().st_size))
    summary = back_up(Workspace.open(shop), str(tmp_path / "later"))
    assert summary.generation == ""
    assert "altered" in summary.damage
    assert restore(str(tmp_path / "later"), tmp_path / "r1").items == summary.items
    with pytest.raises(ArtefactError) as refused:
        restore(str(tmp_path / "sound"), tmp_path / "r2")
    assert "--without-generation" in str(refused.value.hint)
    again = restore(str(tmp_path / "sound"), tmp_path / "r2", with_generation=False)
    assert (again.items, again.events, again.generation) == (summary.items, summary.events, "")


def test_what_a_disk_keeps_otherwise_is_no_backup(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def rot(source: Path, target: Path, **options: bool) -> None:
        copy(source, target, **options)
        if Path(target).name == "serendip.db":
            _flip(Path(target))

    monkeypatch.setattr(shutil, "copyfile", rot)
    with pytest.raises(StorageError, match="reads back otherwise"):
        save(fresh, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_copies_are_for_their_owner_alone_and_verified_without_a_restore(
    saved: Path, tmp_path: Path
) -> None:
    restore(str(saved), tmp_path / "restored")
    for folder in (saved, tmp_path / "restored"):
        assert _mode(folder) == 0o700
        assert {_mode(path) for path in folder.rglob("*") if path.is_file()} == {0o600}

    names = {path.name for path in saved.iterdir()}  # no caches, no files of users
    assert names == {"manifest.json", "serendip.toml", "serendip.db"}
    assert verify(str(saved)) == sum(path.is_file() for path in saved.rglob("*")) - 1
    _flip(saved / "serendip.db")
    with pytest.raises(ArtefactError, match=r"serendip\.db' is altered"):
        verify(str(saved))


def test_of_two_backups_to_one_target_the_first_stays(fresh: Path, tmp_path: Path) -> None:
    workspace, target = Workspace.open(fresh), tmp_path / "saved"
    with closing(workspace.open_store()) as store:
        with BackupFolder(str(target)).claim(tmp_path) as staged:
            store.backups.end(DataCopy(str(target), 0, 0))
            with pytest.raises(ConfigError, match="is not empty"):
                save(fresh, target)
            (staged / "manifest.json").write_text(seal({"files": {}}))
        assert [path.name for path in target.iterdir()] == ["manifest.json"]
        assert [one.place for one in store.backups.all()] == [str(target)]


def test_a_killed_restore_is_cleaned_by_the_next_and_one_that_runs_is_left_alone(
    saved: Path, tmp_path: Path
) -> None:
    target = tmp_path / "restored"
    with scratch_folder(target) as running:
        (running / "serendip.db").write_bytes(b"half")
        with pytest.raises(ConfigError, match="is not empty"):
            restore(str(saved), target)
        shutil.copytree(running, target / f"{running.name}-killed")
    identity = target.stat().st_ino
    assert restore(str(saved), target).items == 60
    assert target.stat().st_ino == identity  # a mount point, say
    assert scratch_of(target) == []


def test_a_place_that_cannot_be_made_is_an_error_of_storage(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (Path("/proc/none/x"), tmp_path / "file" / "x"):
        with pytest.raises(StorageError, match="cannot be restored"):
            restore(str(saved), place)


def test_keys_that_were_revoked_since_stay_revoked(fresh: Path, tmp_path: Path) -> None:
    stolen, good = (issue_key(name, ["read"], None, None) for name in ("stolen", "good"))
    with closing(ApiKeys.open(fresh / "serendip.db")) as keys:
        keys.add(stolen)
        keys.add(good)
        save(fresh, tmp_path / "saved")
        keys.revoke(stolen.key.key_id, time.time())
    source, ids = str(tmp_path / "saved"), {stolen.key.key_id, good.key.key_id}
    assert set(restore(source, tmp_path / "r1").active_keys) == ids
    newer = restore(source, tmp_path / "r2", fresh)
    assert newer.active_keys == (good.key.key_id,)
    assert restore(source, tmp_path / "r3", revoke_keys=True).active_keys == ()


def test_an_erased_item_that_the_backup_did_not_have_yet_stays_out(
    fresh: Path, saved: Path, tmp_path: Path
) -> None:
    with closing(Workspace.open(fresh).open_store()) as store:
        store.import_all([Item("new", "A canary")], [])
        store.erase_item("new")
    assert restore(str(saved), tmp_path / "restored", fresh).erased_items == 0
    with closing(Store.open(tmp_path / "restored" / "serendip.db")) as store:
        store.import_all([Item("new", "A canary")], [])
        assert store.item("new") is None


def test_no_password_is_kept(fresh: Path) -> None:
    for place in ("s3://key:secret@bucket/a", "s3://bucket/a?secret_key=secret"):
        with pytest.raises(ConfigError, match="has a password or options") as told:
            back_up(Workspace.open(fresh), place)
        assert "secret" not in str(told.value)
