import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from object_stores import s3_server
from small_shop import add_settings, import_shop

from serendip.cli.serve import _published_in
from serendip.cli.status import describe
from serendip.engine.artefacts.generations import current_name, open_current, publish, rollback
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, ConflictError, NotTrainedError, StorageError
from serendip.jobs.backup.restore import restore
from serendip.jobs.backup.save import back_up, verify
from serendip.jobs.doctor import check_workspace
from serendip.jobs.status import read_status
from serendip.runtime.versions import Version
from serendip.serve.engine_holder import EngineHolder

T = TypeVar("T")
OWN_FACTS = ("format", "name", "code_version", "created", "previous", "files", "checksum")


@pytest.fixture(scope="module")
def bucket_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def url(bucket_url: str, tmp_path: Path) -> str:
    return f"{bucket_url}/{tmp_path.name}"


@pytest.fixture
def first(trained_folder: Path, tmp_path: Path, url: str) -> Path:
    """A machine that has trained, and moved what it has into the bucket."""
    folder = Path(shutil.copytree(trained_folder, tmp_path / "first"))
    add_storage(folder, url)
    republish(folder)
    return folder


def add_storage(shop: Path, url: str) -> Workspace:
    add_settings(shop, f'\n[storage]\nurl = "{url}"\n')
    return Workspace.open(shop)


def republish(folder: Path) -> Version:
    """Publish the generation in force again, as a training that learned the same would."""
    workspace = Workspace.open(folder)
    current = open_current(workspace.generations)
    facts = {key: value for key, value in current.manifest.items() if key not in OWN_FACTS}

    def copy(target: Path) -> None:
        for name in current.manifest["files"]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(current.folder / name, target / name)

    return publish(workspace.generations, copy, facts)


def another_machine(first: Path, folder: Path) -> Path:
    return Path(shutil.copytree(first, folder, ignore=shutil.ignore_patterns("generations")))


def answers(engine: Engine) -> list[tuple[str, float]]:
    requests = [Request("home", user_id="u3"), Request("similar", item_ids=("i7",))]
    found = [item for request in requests for item in engine.recommend(request).items]
    return [(item.item_id, item.score) for item in found]


def test_machines_that_share_a_bucket_answer_alike_and_swap_together(
    first: Path, tmp_path: Path
) -> None:
    machines = [first, another_machine(first, tmp_path / "second")]
    holders = [EngineHolder(_published_in(machine)) for machine in machines]
    for holder in holders:
        holder.check(0.0)
    for number in (2, 3):
        given = []
        for holder in holders:
            assert holder.generation == f"gen-{number}"
            with holder.lease() as engine:
                given.append(answers(engine))
        assert given[0] == given[1] and given[0]
        if number == 2:
            republish(machines[1])
            for holder in holders:
                holder.check(1.0)
    for holder in holders:
        holder.swap(None)
    generations = Workspace.open(first).generations
    assert rollback(Workspace.open(machines[1]).generations).name == "gen-2"
    assert current_name(generations) == "gen-2"
    with pytest.raises(NotTrainedError, match="gen-2 is the oldest"):
        rollback(generations)

    def write(target: Path) -> None:
        republish(machines[1])
        (target / "file").write_text("ours")

    with pytest.raises(ConflictError, match="run the command again if it is not enough"):
        publish(generations, write, {})
    assert current_name(generations) == "gen-4"


def test_a_backup_is_made_of_what_is_here_while_the_storage_is_away(
    first: Path, tmp_path: Path
) -> None:
    settings = (first / "serendip.toml").read_text()
    (tmp_path / "file").touch()  # where a folder was mounted
    away = tmp_path / "file" / "shop"
    start = settings.partition("\n[storage]")[0]
    (first / "serendip.toml").write_text(f'{start}\n[storage]\nurl = "{away}"\n')
    summary = back_up(Workspace.open(first), str(tmp_path / "backup"))
    assert (summary.generation, summary.damage) == ("gen-2", "")


def test_status_and_doctor_say_where_things_lie(first: Path, tmp_path: Path, url: str) -> None:
    workspace = Workspace.open(another_machine(first, tmp_path / "second"))
    status = read_status(workspace)
    stored = status.storage.in_force
    assert stored.startswith("gen-2-") and status.storage.stored == (stored,)
    lines = list(describe(status))
    assert f"storage      {url}" in lines
    assert f"  has        {stored}" in lines
    checks = {check["name"]: check for check in check_workspace(workspace)}
    assert checks["storage"]["status"] == "PASS"
    assert checks["generation"]["status"] == "PASS"


def test_a_storage_that_was_never_used_is_a_warning_and_one_that_is_gone_a_failure(
    shop: Path, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    workspace = add_storage(shop, str(mount))

    def check() -> tuple[str, str]:
        (found,) = (one for one in check_workspace(workspace) if one["name"] == "storage")
        return found["status"], found["message"]

    assert check()[0] == "WARN" and "check that it is mounted" in check()[1]
    republish(shop)
    assert check()[0] == "PASS"
    mount.rename(tmp_path / "disk")
    mount.mkdir()
    status, message = check()
    assert status == "FAIL" and "it is not mounted" in message
    with pytest.raises(StorageError, match="it is not mounted"):
        republish(shop)
    assert not list(mount.iterdir())


def test_a_backup_has_what_this_machine_has_no_copy_of(first: Path, tmp_path: Path) -> None:
    with Engine.open(first) as engine:
        before = answers(engine)
    shutil.rmtree(first / "generations")
    back_up(Workspace.open(first), str(tmp_path / "backup"))
    summary = restore(str(tmp_path / "backup"), tmp_path / "restored")
    assert (summary.items, summary.generation) == (60, "gen-2")
    with Engine.open(tmp_path / "restored") as engine:
        assert answers(engine) == before


def test_a_backup_in_a_bucket_is_a_workspace_again(url: str, tmp_path: Path) -> None:
    shop, place = import_shop(tmp_path / "shop"), f"{url}/backup"
    back_up(Workspace.open(shop), place)
    assert verify(place) == 2  # settings and database
    with pytest.raises(ConfigError, match="is not empty"):
        back_up(Workspace.open(shop), place)
    assert restore(place, tmp_path / "restored").items == 60
    with Workspace.open(tmp_path / "restored").open_store() as store:
        with Workspace.open(shop).open_store() as other:
            assert store.log.history("u3", 99) == other.log.history("u3", 99)
