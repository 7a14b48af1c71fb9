from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from object_stores import Killed, MortalStore, raise_killed, s3_server
from stored_files import fill, mounted

from serendip.data.objects import bucket
from serendip.data.objects.mirror import Mirror
from serendip.data.objects.mirrored_versions import MirroredVersions
from serendip.data.objects.object_store import ObjectStore, StoredValue
from serendip.data.objects.url import open_object_store
from serendip.errors import ArtefactError, ConfigError, ConflictError, StorageError
from serendip.runtime.versions import Versions


@pytest.fixture(scope="module")
def bucket_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_object_store(str(tmp_path / "shared"))
    url = request.getfixturevalue("bucket_url")
    return open_object_store(f"{url}/{tmp_path.name}")


def write(text: str):
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "data.txt").write_text(text)
        (folder / "large.bin").write_bytes(b"always the same" * 10_000)

    return fill


def versions(folder: Path, store: ObjectStore, most: int | None = None) -> MirroredVersions:
    """The versions as a process of one machine sees them."""
    mirror = Mirror(folder, store.within("generations"), most)
    folder.mkdir(exist_ok=True)
    return MirroredVersions(folder, "Train.", "gen-", "CURRENT", 2, mirror=mirror)


def text_of(folder: Path, store: ObjectStore) -> str:
    current = versions(folder, store).current()
    return "" if current is None else (current.folder / "sub" / "data.txt").read_text()


def test_a_small_object_is_replaced_by_whoever_read_its_newest_content(store: ObjectStore) -> None:
    assert store.read("pointer") is None
    assert store.replace("pointer", b"one", None)
    assert not store.replace("pointer", b"other", None)
    first = store.read("pointer")
    assert first is not None and first.content == b"one" and first.written > 1.7e9
    assert store.replace("pointer", b"two", first.tag)
    assert not store.replace("pointer", b"late", first.tag)
    second = store.read("pointer")
    assert second is not None and second.content == b"two" and second.tag != first.tag


def test_a_stale_writer_is_refused_however_many_came_between(store: ObjectStore) -> None:
    assert store.replace("pointer", b"0", None)
    old = store.read("pointer")
    for number in range(1, 25):
        seen = store.read("pointer")
        assert seen is not None and store.replace("pointer", b"%d" % number, seen.tag)
    assert old is not None and not store.replace("pointer", b"stale", old.tag)
    assert not store.replace("pointer", b"first", None)
    newest = store.read("pointer")
    assert newest is not None and newest.content == b"24"


def test_one_of_many_writers_at_once_wins(store: ObjectStore) -> None:
    start, won = threading.Barrier(5), []

    def claim(number: int) -> None:
        start.wait()
        if store.replace("gen-1/claim", b"%d" % number, None):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.read("gen-1/claim")
    assert found is not None and [b"%d" % number for number in won] == [found.content]


def test_files_come_back_as_they_were_and_are_listed(store: ObjectStore, tmp_path: Path) -> None:
    contents = {"a/b.bin": os.urandom(100), "a/c d-é.bin": b"", "ab.bin": os.urandom(17 << 20)}
    for key, content in contents.items():
        (tmp_path / "file").write_bytes(content)
        store.upload(key, tmp_path / "file")
    assert {key: b"".join(store.stream(key)) for key in contents} == contents
    assert store.sizes("") == {key: len(content) for key, content in contents.items()}
    assert set(store.sizes("a")) == set(contents)
    assert set(store.within("a").sizes("")) == {"b.bin", "c d-é.bin"}
    store.remove(["a/b.bin", "a/never.bin"])
    assert set(store.sizes("a/")) == {"a/c d-é.bin"}
    with pytest.raises(FileNotFoundError):
        list(store.stream("a/b.bin"))


def test_another_machine_opens_what_was_published(store: ObjectStore, tmp_path: Path) -> None:
    versions(tmp_path / "a", store).publish(write("one"), {})
    assert text_of(tmp_path / "b", store) == "one"
    versions(tmp_path / "a", store).publish(write("two"), {})
    assert text_of(tmp_path / "b", store) == "two"
    old, new = (tmp_path / "b" / f"gen-{number}" / "large.bin" for number in (1, 2))
    assert old.samefile(new)  # an equal file is fetched once


def test_of_two_that_publish_at_once_one_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    versions(tmp_path / "a", store).publish(write("one"), {})

    def publish_first(folder: Path) -> None:
        versions(tmp_path / "b", store).publish(write("theirs"), {})
        write("ours")(folder)

    with pytest.raises(ConflictError, match=r"gen-3 was published .* meanwhile, so gen-2 was not"):
        versions(tmp_path / "a", store).publish(publish_first, {})
    assert [text_of(tmp_path / name, store) for name in "abc"] == ["theirs"] * 3
    assert versions(tmp_path / "a", store).names() == ["gen-1", "gen-3"]
    assert not (tmp_path / "a" / "gen-2").exists()
    # The name of the refused one is not given out again; the next one removes its claim.
    assert versions(tmp_path / "a", store).publish(write("next"), {}).name == "gen-4"
    assert not store.sizes("generations/gen-2/")


def test_a_pointer_that_moved_since_it_was_read_is_not_moved(
    store: ObjectStore, tmp_path: Path
) -> None:
    for text in ("one", "two"):
        versions(tmp_path / "a", store).publish(write(text), {})
    ours = versions(tmp_path / "a", store)
    with pytest.raises(StorageError, match="CURRENT was not read"):
        ours.make_current("gen-1")
    assert ours.current_name() == "gen-2"
    versions(tmp_path / "b", store).publish(write("three"), {})
    with pytest.raises(ConflictError):
        ours.make_current("gen-1")
    assert text_of(tmp_path / "a", store) == "three"


@pytest.mark.parametrize("file", ["sub/data.txt", "large.bin", "manifest.json"])
def test_a_damaged_copy_is_fetched_anew(store: ObjectStore, tmp_path: Path, file: str) -> None:
    versions(tmp_path / "a", store).publish(write("one"), {})
    assert text_of(tmp_path / "b", store) == "one"
    (tmp_path / "b" / "gen-1" / file).write_bytes(b"damage")
    (tmp_path / "b" / "gen-1" / "unknown").write_bytes(b"")
    assert text_of(tmp_path / "b", store) == "one"
    assert not (tmp_path / "b" / "gen-1" / "unknown").exists()


def test_what_is_damaged_in_the_store_is_never_served(store: ObjectStore, tmp_path: Path) -> None:
    versions(tmp_path / "a", store).publish(write("one"), {})
    (tmp_path / "wrong").write_text("uno")
    store.upload("generations/gen-1/sub/data.txt", tmp_path / "wrong")
    with pytest.raises(ArtefactError, match=r"gen-1/sub/data.txt is altered: expected .*, found"):
        text_of(tmp_path / "b", store)
    assert not (tmp_path / "b" / "gen-1").exists()
    assert text_of(tmp_path / "a", store) == "one"
    store.remove(["generations/gen-1/sub/data.txt"])
    with pytest.raises(ArtefactError, match="is missing"):
        text_of(tmp_path / "b", store)


def test_copies_stay_within_their_limit_but_the_current_one_stays(
    store: ObjectStore, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for text in ("one", "two", "three"):
        versions(a, store).publish(write(text), {})
        versions(b, store, most=200_000).current()
        copies = sorted(path.name for path in b.glob("gen-*"))
        assert copies[-1] == versions(b, store).current_name()
        assert len(copies) <= 2  # one has 150 kB, and the newest known one is kept


def test_a_machine_drops_copies_of_what_the_store_does_not_have_any_more(
    store: ObjectStore, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    versions(a, store).publish(write("one"), {})
    text_of(b, store)
    versions(a, store).publish(write("two"), {})
    versions(a, store).remove("gen-1")
    assert not store.sizes("generations/gen-1")
    assert text_of(b, store) == "two"
    assert not (b / "gen-1").exists()


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_publication_that_is_killed_anywhere_leaves_the_old_one_in_force(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "shared")
    if place == "bucket":
        url = request.getfixturevalue("bucket_url") + "/killed"
    store = open_object_store(url)
    versions(tmp_path / "a", store).publish(write("one"), {})
    changes, in_force = 0, "one"
    while in_force == "one":
        mortal = MortalStore(store, [changes], raise_killed)
        with pytest.raises(Killed):
            versions(tmp_path / "a", mortal).publish(write("two"), {})
        in_force = text_of(tmp_path / "b", store)
        assert in_force in ("one", "two")
        assert text_of(tmp_path / "a", store) == in_force
        changes += 1
    # The claim, two files, the manifest and the pointer come before; only cleaning comes after.
    assert changes == 6
    assert versions(tmp_path / "b", store).publish(write("three"), {}).name == "gen-7"
    complete = versions(tmp_path / "c", store).names()
    assert {key.split("/")[1] for key in store.sizes("generations/gen-")} == set(complete)
    assert text_of(tmp_path / "a", store) == "three"


def test_a_storage_that_goes_once_a_version_is_in_force_is_no_failure(
    store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        versions(tmp_path / "a", MortalStore(store, [3], raise_killed)).publish(write("one"), {})
    # The claim, two files, the manifest and the pointer; what the killed one left is not removed.
    going = MortalStore(store, [5], raise_gone)
    assert versions(tmp_path / "a", going).publish(write("two"), {}).name == "gen-2"
    assert text_of(tmp_path / "b", store) == "two"
    assert store.sizes("generations/gen-1/")


def test_a_killed_process_leaves_no_half_file_and_no_lock(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    for changes in range(6):
        child = os.fork()
        if not child:
            mortal = MortalStore(store, [changes], lambda: os.kill(os.getpid(), signal.SIGKILL))
            versions(tmp_path / "a", mortal).publish(write("two"), {})
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert text_of(tmp_path / "b", store) == ("two" if changes == 5 else "one")
    versions(tmp_path / "a", store).publish(write("three"), {})
    assert text_of(tmp_path / "b", store) == "three"


def test_a_fetch_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    begun = tmp_path / "b" / ".fetching" / "gen-1"
    begun.mkdir(parents=True)
    (begun / "large.bin").write_bytes(b"always the same" * 10_000)
    (begun / "half").write_bytes(b"")
    whole = (begun / "large.bin").stat().st_ino
    assert text_of(tmp_path / "b", store) == "one"
    assert (tmp_path / "b" / "gen-1" / "large.bin").stat().st_ino == whole
    assert not list((tmp_path / "b" / "gen-1").glob("half"))


class FillingStore(MortalStore):
    """A place beside which others fill the disk of the copies while a file is fetched."""

    def __init__(self, store: ObjectStore, disk: Path) -> None:
        super().__init__(store, [None], raise_killed)
        self._disk = disk

    def within(self, folder: str) -> ObjectStore:
        return FillingStore(self._store.within(folder), self._disk)

    def stream(self, key: str) -> Iterator[bytes]:
        if key.endswith("/0.bin"):
            fill(self._disk)
        yield from self._store.stream(key)


def write_random(megabytes: int):
    """Files that no other version has."""

    def write_files(folder: Path) -> None:
        write("large")(folder)
        for number in range(megabytes):
            (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))

    return write_files


def test_on_a_full_disk_old_copies_go_and_the_one_in_force_stays(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    with mounted(tmp_path / "disk", "size=44m") as disk:
        for _ in range(4):  # there is room for two of them, and for the database
            versions(tmp_path / "a", store).publish(write_random(12), {})
            assert text_of(disk / "b", store) == "large"
        copies = sorted(path.name for path in (disk / "b").glob("gen-*"))
        assert copies == ["gen-3", "gen-4"]


def test_what_does_not_fit_on_a_disk_takes_no_room_of_it(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    with mounted(tmp_path / "disk", "size=20m") as disk:
        assert text_of(disk / "b", store) == "one"
        versions(tmp_path / "a", store).publish(write_random(24), {})
        free = shutil.disk_usage(disk).free
        for _ in range(2):  # a service tries again and again
            with pytest.raises(StorageError, match="gen-2 cannot be written: No space left"):
                text_of(disk / "b", store)
            assert shutil.disk_usage(disk).free > free - (1 << 20)
        assert (disk / "b" / "gen-1").is_dir()


def test_what_was_fetched_goes_if_others_fill_the_disk_meanwhile(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    with mounted(tmp_path / "disk", "size=60m") as disk:
        assert text_of(disk / "b", store) == "one"
        versions(tmp_path / "a", store).publish(write_random(12), {})
        with pytest.raises(StorageError, match="gen-2 cannot be written: No space left"):
            text_of(disk / "b", FillingStore(store, disk))
        assert not (disk / "b" / ".fetching" / "gen-2").exists()
        assert (disk / "b" / "gen-1").is_dir()
        (disk / "ballast").unlink()
        assert text_of(disk / "b", store) == "large"


def test_a_store_out_of_reach_leaves_the_newest_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    shared = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", shared).publish(write("one"), {})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    unreachable = open_object_store("s3://shop/away")
    assert text_of(tmp_path / "a", unreachable) == "one"
    with pytest.raises(StorageError, match="s3://shop/away/generations/CURRENT cannot be read"):
        versions(tmp_path / "a", unreachable).publish(write("two"), {})


def published_here(folder: Path, text: str) -> None:
    """A version of this machine alone, before it has a storage."""
    folder.mkdir(exist_ok=True)
    Versions(folder, "Train.", "gen-", "CURRENT", 2).publish(write(text), {})


def own_texts(folder: Path) -> dict[str, str]:
    return {
        path.name: (path / "sub" / "data.txt").read_text() for path in (folder / ".own").iterdir()
    }


def test_a_version_of_this_machine_is_not_taken_for_one_of_the_same_name(
    store: ObjectStore, tmp_path: Path
) -> None:
    published_here(tmp_path / "b", "local")
    versions(tmp_path / "a", store).publish(write("shared"), {"fact": 7})
    assert versions(tmp_path / "b", store).read_manifest("gen-1")["fact"] == 7
    assert text_of(tmp_path / "b", store) == "shared"
    assert own_texts(tmp_path / "b") == {"gen-1": "local"}


def test_what_no_storage_has_is_set_aside_and_copies_of_another_storage_go(tmp_path: Path) -> None:
    staging, production = (open_object_store(str(tmp_path / name)) for name in ("one", "two"))
    for text in ("first", "second", "third"):
        published_here(tmp_path / "b", text)
    for text in ("staging", "staging too"):
        versions(tmp_path / "a", staging).publish(write(text), {})
    assert text_of(tmp_path / "b", staging) == "staging too"
    own = {"gen-1": "first", "gen-2": "second", "gen-3": "third"}
    assert own_texts(tmp_path / "b") == own
    for number in range(3):
        versions(tmp_path / "c", production).publish(write(f"production {number}"), {})
    versions(tmp_path / "c", production).remove("gen-1")
    assert text_of(tmp_path / "b", production) == "production 2"
    assert own_texts(tmp_path / "b") == own
    assert sorted(path.name for path in (tmp_path / "b").glob("gen-*")) == ["gen-2", "gen-3"]
    earlier = versions(tmp_path / "b", production).open("gen-2")
    assert (earlier.folder / "sub" / "data.txt").read_text() == "production 1"
    assert own_texts(tmp_path / "b") == own


def test_what_a_machine_had_before_a_storage_is_shared_if_that_has_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    published_here(tmp_path / "b", "first")
    own = Versions(tmp_path / "b", "Train.", "gen-", "CURRENT", 2)
    own.publish(write("second"), {"fact": 7})
    assert text_of(tmp_path / "b", store) == "second"
    shared = versions(tmp_path / "b", store).share()
    assert shared is not None and (shared.name, shared.manifest["fact"]) == ("gen-2", 7)
    assert own_texts(tmp_path / "b") == {"gen-1": "first"}
    published_here(tmp_path / "c", "other")
    assert [versions(tmp_path / name, store).share() for name in "abc"] == [None] * 3
    assert [text_of(tmp_path / name, store) for name in "abc"] == ["second"] * 3
    assert own_texts(tmp_path / "c") == {"gen-1": "other"}
    versions(tmp_path / "a", store).remove("gen-2")
    assert versions(tmp_path / "b", store).publish(write("third"), {}).name == "gen-3"
    assert own_texts(tmp_path / "b") == {"gen-1": "first"}
    assert not (tmp_path / "b" / "gen-2").exists()  # it had become a copy


def test_what_is_shared_takes_no_name_that_the_store_had(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    published_here(tmp_path / "b", "first")
    store.within("generations").replace("gen-1/claim", b"of a publication that was killed", None)
    shared = versions(tmp_path / "b", store).share()
    assert shared is not None and shared.name == "gen-2"
    assert [text_of(tmp_path / name, store) for name in "ab"] == ["first"] * 2


def raise_gone() -> None:
    raise StorageError("the storage is gone.")


@pytest.mark.parametrize(("kill", "error"), [(raise_killed, Killed), (raise_gone, StorageError)])
def test_what_is_shared_keeps_its_name_wherever_an_earlier_try_failed(
    tmp_path: Path, kill: Callable[[], None], error: type[BaseException]
) -> None:
    # The claim, two files, the manifest and the pointer; only cleaning comes after.
    for changes in range(5):
        folder, store = tmp_path / f"{changes}", open_object_store(str(tmp_path / f"s{changes}"))
        for text in ("first", "second"):
            published_here(folder, text)
        with pytest.raises(error):
            versions(folder, MortalStore(store, [changes], kill)).share()
        shared = versions(folder, store).share()
        assert shared is not None and shared.name == "gen-2"
        assert [text_of(place, store) for place in (folder, tmp_path / "a")] == ["second"] * 2
        assert own_texts(folder) == {"gen-1": "first"}
        shutil.rmtree(tmp_path / "a")


def test_a_damaged_version_of_this_machine_is_not_shared_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    published_here(tmp_path / "b", "first")
    (tmp_path / "b" / "gen-1" / "sub" / "data.txt").write_text("damage")
    assert versions(tmp_path / "b", store).share() is None
    assert "does not get it" in caplog.text and "data.txt is altered" in caplog.text
    assert not store.sizes("")
    with pytest.raises(ArtefactError, match=r"data.txt is altered"):
        text_of(tmp_path / "b", store)
    for pointer in ("CURRENT", "CURRENT.backup"):
        (tmp_path / "b" / pointer).write_text("")
    assert versions(tmp_path / "b", store).share() is None
    assert "CURRENT has ''" in caplog.text


def test_what_another_machine_shared_first_takes_nothing_from_this_one(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    for text in ("first", "second"):
        published_here(tmp_path / "b", text)

    class Late(MirroredVersions):
        """The other machine publishes while this one writes into the store."""

        def make_current(self, name: str) -> None:
            versions(tmp_path / "a", store).publish(write("other"), {})
            super().make_current(name)

    mirror = Mirror(tmp_path / "b", store.within("generations"))
    with pytest.raises(ConflictError):
        Late(tmp_path / "b", "Train.", "gen-", "CURRENT", 2, mirror=mirror).share()
    assert text_of(tmp_path / "b", store) == "other"
    assert own_texts(tmp_path / "b") == {"gen-1": "first", "gen-2": "second"}
    assert versions(tmp_path / "a", store).names() == ["gen-3"]


def test_a_copy_of_a_machine_takes_nothing_away_that_the_other_one_put_in_force(
    tmp_path: Path,
) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    published_here(tmp_path / "b", "first")
    with pytest.raises(StorageError):  # after the claim, which the copy then has, too
        versions(tmp_path / "b", MortalStore(store, [1], raise_gone)).share()
    shutil.copytree(tmp_path / "b", tmp_path / "copy")

    class Late(MirroredVersions):
        """The other machine shares while this one writes into the store."""

        def make_current(self, name: str) -> None:
            assert versions(tmp_path / "b", store).share() is not None
            super().make_current(name)

    mirror = Mirror(tmp_path / "copy", store.within("generations"))
    with pytest.raises(ConflictError):
        Late(tmp_path / "copy", "Train.", "gen-", "CURRENT", 2, mirror=mirror).share()
    assert text_of(tmp_path / "c", store) == "first"


def test_what_was_stored_under_a_lock_that_was_lost_is_not_left(
    store: ObjectStore, tmp_path: Path
) -> None:
    versions(tmp_path / "a", store).publish(write("one"), {})
    held = iter([True, False])  # it is lost while files are stored

    def require_held() -> None:
        if not next(held):
            raise StorageError("the lock was lost.")

    with pytest.raises(StorageError, match="the lock was lost"):
        versions(tmp_path / "a", store).publish(write("two"), {}, require_held)
    assert versions(tmp_path / "b", store).names() == ["gen-1"]
    assert [text_of(tmp_path / name, store) for name in "ab"] == ["one"] * 2
    assert versions(tmp_path / "a", store).publish(write("three"), {}).name == "gen-3"


def test_a_version_that_is_away_is_that_of_this_machine(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    away = AwayStore(store)
    with pytest.raises(StorageError, match="is away"):
        text_of(tmp_path / "b", away)
    versions(tmp_path / "a", store).publish(write("one"), {})
    assert text_of(tmp_path / "a", away) == "one"
    assert len(away.asked) == 2  # the pointer, once each


def test_an_unreadable_pointer_of_this_machine_is_of_no_matter(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    assert text_of(tmp_path / "b", store) == "one"
    (tmp_path / "b" / "CURRENT").write_text("")
    versions(tmp_path / "a", store).publish(write("two"), {})
    assert text_of(tmp_path / "b", store) == "two"


def test_a_link_whose_answer_was_lost_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    versions(tmp_path / "a", store).publish(write("one"), {})
    link = os.link

    def link_and_lose(source: Path, target: Path) -> None:
        link(source, target)
        if ".incoming" in str(source):
            raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", link_and_lose)
    versions(tmp_path / "a", store).publish(write("two"), {})
    assert [text_of(tmp_path / name, store) for name in "ab"] == ["two", "two"]
    seen = store.read("generations/CURRENT")
    assert seen is not None and not store.replace("generations/CURRENT", b"late", None)


class UncertainStore(MortalStore):
    """A place whose pointer is written, but the answer to that is lost."""

    def within(self, folder: str) -> ObjectStore:
        return UncertainStore(self._store.within(folder), self._changes, self._kill)

    def replace(self, key: str, content: bytes, tag: str | None) -> bool:
        done = self._store.replace(key, content, tag)
        if key == "CURRENT":
            raise StorageError("no answer.")
        return done


def test_a_publication_whose_answer_was_lost_is_in_force(
    store: ObjectStore, tmp_path: Path
) -> None:
    lossy = UncertainStore(store, [None], raise_killed)
    assert versions(tmp_path / "a", lossy).publish(write("one"), {}).name == "gen-1"
    assert [text_of(tmp_path / name, store) for name in "ab"] == ["one", "one"]


def test_what_a_publication_has_claimed_stays_until_a_higher_number_is_in_force(
    tmp_path: Path,
) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    for number in (1, 5):
        assert store.replace(f"generations/gen-{number}/claim", b"theirs", None)

    class Second(MirroredVersions):
        """Took its name before the claim of gen-5."""

        def _take_name(self) -> str:
            return "gen-2"

    mirror = Mirror(tmp_path / "a", store.within("generations"))
    mirror.folder.mkdir()
    second = Second(mirror.folder, "Train.", "gen-", "CURRENT", 2, mirror=mirror)
    second.publish(write("one"), {})
    claims = store.sizes("generations/gen-")
    assert {key.split("/")[1] for key in claims} == {"gen-2", "gen-5"}


def test_a_store_that_keeps_a_part_of_a_file_is_noticed(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    with pytest.raises(StorageError, match=r"data.txt has 1 bytes instead of 4"):
        versions(tmp_path / "a", HalfStore(store, [None], raise_killed)).publish(write("four"), {})
    assert text_of(tmp_path / "b", store) == ""


class HalfStore(MortalStore):
    """A place that keeps the beginning of some files."""

    def within(self, folder: str) -> ObjectStore:
        return HalfStore(self._store.within(folder), self._changes, self._kill)

    def upload(self, key: str, path: Path) -> None:
        if key.endswith("data.txt"):
            path = path.with_name("half")
            path.write_bytes(b"f")
        self._store.upload(key, path)


class AwayStore(MortalStore):
    """A place out of reach.

    Attributes:
        asked: keys that were to be read.
    """

    def __init__(self, store: ObjectStore, asked: list[str] | None = None) -> None:
        super().__init__(store, [None], raise_killed)
        self.asked = [] if asked is None else asked

    def within(self, folder: str) -> ObjectStore:
        return AwayStore(self._store.within(folder), self.asked)

    def read(self, key: str) -> StoredValue | None:
        self.asked.append(key)
        raise StorageError("the storage is away.")

    def sizes(self, prefix: str) -> dict[str, int]:
        raise StorageError("the storage is away.")


def test_a_publication_that_is_overtaken_while_it_stores_is_refused(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))

    class OvertakenStore(HalfStore):
        """Another machine publishes while this one stores."""

        def within(self, folder: str) -> ObjectStore:
            return OvertakenStore(self._store.within(folder), self._changes, self._kill)

        def upload(self, key: str, path: Path) -> None:
            super().upload(key, path)
            if key.endswith("data.txt"):
                versions(tmp_path / "b", store).publish(write("theirs"), {})

    with pytest.raises(ConflictError, match=r"gen-2 was published .* meanwhile, so gen-1 was not"):
        versions(tmp_path / "a", OvertakenStore(store, [None], raise_killed)).publish(
            write("ours"), {}
        )
    assert [text_of(tmp_path / name, store) for name in "abc"] == ["theirs"] * 3


def test_all_folders_that_lead_to_a_file_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = [], os.fsync

    def note(handle: int) -> None:
        sync(handle)
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))

    monkeypatch.setattr(os, "fsync", note)
    store = open_object_store(str(tmp_path / "mount" / "shared")).within("generations")
    (tmp_path / "file").write_bytes(b"x")
    store.upload("gen-1/models/a", tmp_path / "file")
    generations = tmp_path / "mount" / "shared" / "generations"
    models = generations / "gen-1" / "models"
    above = [models, *models.parents]
    assert set(above[: above.index(tmp_path) + 1]) <= set(synced)
    synced.clear()
    assert store.replace("gen-2/claim", b"x", None)
    assert {generations, generations / "gen-2"} <= set(synced)


def test_folders_that_come_and_go_are_no_error(tmp_path: Path) -> None:
    store = open_object_store(str(tmp_path / "shared"))
    (tmp_path / "file").write_bytes(b"x")
    problems: list[Exception] = []
    is_done = threading.Event()

    def run(work: Callable[[int], None]) -> None:
        for number in range(150):
            try:
                work(number)
            except StorageError as error:
                problems.append(error)

    def change(number: int) -> None:
        key = f"gen/a/{threading.get_ident()}"
        store.upload(key, tmp_path / "file")
        store.remove([key])

    def look() -> None:
        while not is_done.is_set():
            run(lambda number: store.sizes("") and None)

    looking = threading.Thread(target=look)
    changing = [threading.Thread(target=run, args=(change,)) for _ in range(2)]
    for thread in [looking, *changing]:
        thread.start()
    for thread in changing:
        thread.join()
    is_done.set()
    looking.join()
    assert not problems


def test_a_hostile_manifest_writes_nowhere_else(tmp_path: Path) -> None:
    from serendip.runtime.versions import seal

    store = open_object_store(str(tmp_path / "shared"))
    (tmp_path / "manifest").write_text(seal({"format": 2, "files": {"../../evil": "0" * 64}}))
    store.upload("generations/gen-1/manifest.json", tmp_path / "manifest")
    with pytest.raises(ArtefactError, match=r"has a file named '../../evil'"):
        versions(tmp_path / "a", store).open("gen-1")


@pytest.mark.parametrize("url", ["../shared", "shared", "file://shared"])
def test_a_path_that_depends_on_the_working_folder_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"shared' is no place .* Give the whole path"):
        open_object_store(url)


def test_a_url_of_another_kind_is_an_error() -> None:
    pytest.importorskip("obstore")
    with pytest.raises(ConfigError, match="ftp://host/x is no place"):
        open_object_store("ftp://host/x")


def test_a_bucket_that_never_answers_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setattr(bucket, "_SMALL_S", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        objects = bucket.Bucket.open("s3://silent/shop").within("generations")
        begin = time.monotonic()
        with pytest.raises(
            StorageError, match="s3://silent/shop/generations/CURRENT cannot be read"
        ):
            objects.read("CURRENT")
        first = time.monotonic() - begin
        for read in (lambda: objects.read("CURRENT"), lambda: objects.sizes("gen-")):
            with pytest.raises(StorageError, match=r"s3://silent/shop/generations.*not answer"):
                read()
        assert time.monotonic() - begin < first + 1.0
        assert first < 10
