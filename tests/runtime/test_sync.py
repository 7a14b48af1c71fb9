import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_stores import s3_server
from stored_files import mounted

from serendip.engine.artefacts.generations import (
    current_name,
    open_current,
    publish,
    rollback,
    with_erased,
)
from serendip.errors import ArtefactError, ConfigError, ConflictError, NotTrainedError, StorageError
from serendip.runtime.sync import SharedFolder, Storage
from serendip.runtime.versions import MANIFEST, seal

LARGE = "x" * 100_000
"""Equal files of this size are shared between generations."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["bucket", "folder"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "mount" / "shop")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture
def machine(url: str, tmp_path: Path) -> Callable[[str], SharedFolder]:
    return lambda name: SharedFolder(tmp_path / name, Storage(url))


def write(text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "data.txt").write_text(text)
        (folder / "large.txt").write_text(LARGE)

    return fill


def text_of(place: SharedFolder) -> str:
    return (open_current(place).folder / "sub" / "data.txt").read_text()


def test_what_one_machine_publishes_or_rolls_back_the_others_have(
    machine: Callable[[str], SharedFolder],
) -> None:
    one, other = machine("one"), machine("other")
    with pytest.raises(NotTrainedError):
        open_current(other)
    for text in "abcde":
        publish(one, write(text), {})
        assert text_of(other) == text
    stored = [folder.rpartition("-")[0] for folder in one.manifests()]
    assert stored == ["gen-3", "gen-4", "gen-5"]
    assert sorted(path.name for path in other.folder.glob("gen-*")) == ["gen-3", "gen-4", "gen-5"]
    assert rollback(machine("new")).name == "gen-4"
    assert (current_name(one), text_of(other)) == ("gen-4", "d")
    assert publish(other, write("f"), {}).name == "gen-6"
    assert text_of(one) == "f"


def test_of_two_that_publish_at_once_one_is_refused_and_nothing_of_it_stays(
    machine: Callable[[str], SharedFolder],
) -> None:
    one, other = machine("one"), machine("other")
    publish(one, write("a"), {})

    def write_late(folder: Path) -> None:
        publish(other, write("b"), {})
        write("late")(folder)

    with pytest.raises(ConflictError, match=r"published in .* meanwhile, so gen-2 was not"):
        publish(one, write_late, {})
    assert (text_of(one), text_of(other)) == ("b", "b")
    assert len(one.manifests()) == 2


class Killed(BaseException):
    pass


class MortalStorage(Storage):
    """A storage whose user is killed just before one of its changes."""

    left = 0

    def _count(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def create(self, key: str, content: bytes) -> bool:
        self._count()
        return super().create(key, content)

    def upload(self, key: str, path: Path) -> None:
        self._count()
        super().upload(key, path)

    def remove(self, *keys: str) -> None:
        self._count()
        super().remove(*keys)


@pytest.mark.parametrize("changes", range(6))
def test_after_a_kill_at_any_change_the_old_or_the_new_generation_is_in_force(
    machine: Callable[[str], SharedFolder], changes: int
) -> None:
    one, other = machine("one"), machine("other")
    for text in "abc":
        publish(one, write(text), {})
    mortal = MortalStorage(one.storage.url)
    mortal.left = changes
    killed = SharedFolder(one.folder, mortal)
    with pytest.raises(Killed):
        publish(killed, write("d"), {})
    assert text_of(other) == text_of(machine("third")) == ("d" if changes > 3 else "c")
    publish(other, write("e"), {})
    assert text_of(one) == "e"
    assert len(one.manifests()) == 3


def test_a_damaged_or_cut_copy_is_fetched_again_and_a_damaged_object_refused(
    machine: Callable[[str], SharedFolder],
) -> None:
    one, other = machine("one"), machine("other")
    publish(one, write("a"), {})
    for damage in (lambda path: path.write_text("?"), lambda path: path.unlink()):
        damage(open_current(other).folder / "sub" / "data.txt")
        assert text_of(other) == "a"
    shutil.rmtree(other.folder / "gen-1")
    assert text_of(other) == "a"
    publish(one, write("b"), {})
    key = f"generations/{one.in_force()}/sub/data.txt"
    bad = one.folder / "bad"
    bad.write_text("?")
    one.storage.remove(key)
    one.storage.upload(key, bad)
    with pytest.raises(ArtefactError, match=r"sub/data\.txt is altered"):
        open_current(other)
    publish(one, write("c"), {})
    assert text_of(other) == "c"


def test_what_an_erasure_ended_goes_everywhere(machine: Callable[[str], SharedFolder]) -> None:
    one, other = machine("one"), machine("other")
    publish(one, write("a"), {"event_removals": 0})
    assert text_of(other) == "a"
    assert with_erased(machine("new"), 1) == ["gen-1"]
    publish(one, write("b"), {"event_removals": 1, "erased_at_removals": 1})
    assert text_of(other) == "b"
    assert not list(other.folder.glob("gen-1*")) and not list(one.folder.glob("gen-1*"))
    assert [manifest["name"] for manifest in one.manifests().values()] == ["gen-2"]
    with pytest.raises(NotTrainedError, match="gen-2 is the oldest"):
        rollback(one)


def test_while_the_storage_is_away_a_machine_goes_on_with_its_copy(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(SharedFolder(tmp_path / "one", Storage(url)), write("a"), {})
    place = SharedFolder(tmp_path / "one", AwayStorage(url))
    for _ in range(3):
        assert text_of(place) == "a"
    assert caplog.text.count("what this machine has copies of is used") == 1
    with pytest.raises(StorageError, match="does not answer"):
        publish(place, write("b"), {})
    with pytest.raises(StorageError, match="does not answer"):
        open_current(SharedFolder(tmp_path / "new", AwayStorage(url)))
    assert text_of(place) == "a"


class AwayStorage(Storage):
    def read(self, key: str) -> bytes | None:
        raise StorageError(f"{self.url} does not answer.")


def test_a_folder_that_is_not_mounted_any_more_is_told_from_an_empty_one(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    one = SharedFolder(tmp_path / "one", Storage(str(mount)))
    publish(one, write("a"), {})
    mounted = mount.rename(tmp_path / "disk")
    for make in (lambda: None, mount.mkdir):  # no folder, and a bare mount point
        make()
        later = SharedFolder(tmp_path / "one", Storage(str(mount)))
        with pytest.raises(StorageError, match="not mounted, or was emptied or replaced"):
            publish(later, write("b"), {})
        assert text_of(later) == "a"
        assert not mount.is_dir() or not list(mount.iterdir())
    mount.rmdir()
    mounted.rename(mount)
    assert publish(one, write("b"), {}).name == "gen-2"


@pytest.mark.parametrize("wrong", ["http://bucket/prefix", "relative/folder", ""])
def test_a_url_that_cannot_be_used_is_named(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is no place that can be used"):
        Storage(wrong)


def test_a_manifest_leads_out_of_no_folder(
    machine: Callable[[str], SharedFolder], tmp_path: Path
) -> None:
    one = machine("one")
    one.require_marker(may_write=True)
    building = tmp_path / "building"
    building.mkdir()
    text = seal({"format": 3, "name": "gen-1", "files": {"../secret": "0"}})
    (building / MANIFEST).write_text(text)
    folder = f"gen-1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    one.storage.upload(f"generations/{folder}/{MANIFEST}", building / MANIFEST)
    one.put_in_force(folder)
    with pytest.raises(ArtefactError, match="has a file named"):
        open_current(machine("other"))


def test_what_does_not_fit_on_a_disk_takes_no_room_of_it(tmp_path: Path) -> None:
    shared = Storage(str(tmp_path / "shared"))

    def write_much(folder: Path) -> None:
        for number in range(3):
            (folder / f"{number}.bin").write_bytes(bytes([number]) * (8 << 20))

    publish(SharedFolder(tmp_path / "one", shared), write_much, {})
    with mounted(tmp_path / "disk", "size=20m") as disk:
        with pytest.raises(StorageError, match="No space left"):
            SharedFolder(disk / "other", shared).fetch_in_force()
        assert shutil.disk_usage(disk).free > 19 << 20
