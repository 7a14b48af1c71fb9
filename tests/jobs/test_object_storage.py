"""Machines that share a bucket: what one publishes the others serve; backups go there, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from object_stores import s3_server
from small_shop import import_shop
from stand import NUM_USERS, train

from serendip.cli.serve import _published_in
from serendip.cli.status import describe
from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.objects.mirror import Mirror, Place, local_folder
from serendip.engine.artefacts.generations import current_name, open_current, publish, rollback
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, ConflictError, NotTrainedError
from serendip.jobs.backup.restore import restore
from serendip.jobs.backup.save import back_up, verify
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.relevance.versions import model_versions, open_current_version
from serendip.jobs.semantic_ids.build import build_ids, extend_built_ids
from serendip.jobs.semantic_ids.versions import id_versions, open_version, require_current
from serendip.jobs.shared_versions import share_versions
from serendip.jobs.status import read_status
from serendip.jobs.suggestions.build import build_queries, query_versions
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import SilentProgress, TrainOptions, empty_note
from serendip.runtime.versions import Version
from serendip.serve.engine_holder import EngineHolder, Follower

T = TypeVar("T")
ALIGNED = '\n[semantic_ids]\nvectors = "aligned"\n'
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
    with closing(Workspace.open(folder).open_store()) as store:
        store.compact()
    return folder


def add_storage(shop: Path, url: str) -> Workspace:
    """Let the workspace of a machine lie in a storage."""
    with (shop / "serendip.toml").open("a") as stream:
        stream.write(f'\n[storage]\nurl = "{url}"\n')
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
    """A machine with the settings and the database, and nothing else."""
    folder.mkdir()
    for name in ("serendip.toml", "serendip.db"):
        shutil.copyfile(first / name, folder / name)
    return folder


def answers(engine: Engine) -> list[tuple[str, float]]:
    requests = [Request("home", user_id="u3"), Request("similar", item_ids=("i7",))]
    found = [item for request in requests for item in engine.recommend(request).items]
    return [(item.item_id, item.score) for item in found]


def test_machines_that_share_a_bucket_answer_alike_and_swap_together(
    first: Path, tmp_path: Path
) -> None:
    machines = [first, another_machine(first, tmp_path / "second")]
    holders = [EngineHolder() for _ in machines]
    followers = [
        Follower(holder, _published_in(machine))
        for holder, machine in zip(holders, machines, strict=True)
    ]
    for follower in followers:
        follower.begin(0.0)
    for number in (2, 3):
        given = []
        for holder in holders:
            assert holder.generation == f"gen-{number}"
            with holder.lease() as engine:
                assert isinstance(engine, Engine)
                given.append(answers(engine))
        assert given[0] == given[1] and given[0]
        if number == 2:
            republish(machines[1])
            for follower in followers:
                follower.check(1.0)
    for holder in holders:
        holder.close()
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
    assert current_name(generations) == "gen-5"


def test_what_one_machine_builds_the_others_train_from(url: str, tmp_path: Path) -> None:
    first = import_shop(tmp_path / "first")
    before, _ = build_ids(JobContext.open(first))
    workspace = add_storage(first, url)
    share_versions(workspace)
    with closing(Workspace.open(first).open_store()) as store:
        store.compact()
    second = another_machine(first, tmp_path / "second")
    one, other = (Workspace.open(folder) for folder in (first, second))
    shared = require_current(other.semantic_ids)
    assert (before.name, shared.name) == ("v1", "v1")
    np.testing.assert_array_equal(shared.items.codes, before.items.codes)
    with closing(other.open_store()) as store:
        store.put_items([Item("new", "A new horror tale", attributes={"genre": "horror"})])
    assert build_ids(JobContext.open(second))[0].name == "v2"
    assert require_current(one.semantic_ids).items.row_of()["new"] == 60
    assert open_version(one.semantic_ids, "v1").items.ids == shared.items.ids
    name, _ = build_queries(JobContext.open(second))
    built = query_versions(one).current()
    assert built is not None and built.name == name and (built.folder / "table").is_dir()
    for place, text in ((other.relevance, "typed"), (other.list_relevance("home"), "home")):
        publish_relevance(place, text)
    for place, text in ((one.relevance, "typed"), (one.list_relevance("home"), "home")):
        assert (open_current_version(place).folder / "file").read_text() == text
    for folder in ("semantic_ids", "queries", "relevance"):
        shutil.rmtree(first / folder)
    back_up(one, str(tmp_path / "backup"), SilentProgress())
    restore(str(tmp_path / "backup"), tmp_path / "restored", SilentProgress())
    for name in ("semantic_ids/v2", "queries/v1", "relevance/v1", "relevance/lists/home/v1"):
        assert (tmp_path / "restored" / name / "manifest.json").is_file()


def test_a_training_shares_what_is_here_alone_unless_a_command_is_building_it(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = import_shop(tmp_path / "shop")
    build_queries(JobContext.open(shop))
    build_ids(JobContext.open(shop))
    workspace = add_storage(shop, url)
    with exclusive_lock(local_folder(workspace.queries)):
        share_versions(workspace)
        assert "a later training stores" in caplog.text
        assert query_versions(workspace).names() == []
        assert id_versions(workspace.semantic_ids).names() == ["v1"]
    share_versions(workspace)
    assert query_versions(workspace).names() == ["v1"]
    storage = read_status(workspace).storage
    assert storage is not None
    shown = [(place.url, place.stored) for place in storage.places[2:]]
    assert shown == [(f"{url}/{name}", ("v1",)) for name in ("semantic_ids", "queries")]
    caplog.clear()
    with exclusive_lock(local_folder(workspace.queries)):
        share_versions(workspace)  # all is there: no lock is needed
    assert "later training" not in caplog.text


def test_a_backup_has_the_rest_if_a_version_in_the_storage_is_damaged(
    url: str, tmp_path: Path
) -> None:
    shop = import_shop(tmp_path / "shop")
    add_storage(shop, url)
    build_ids(JobContext.open(shop))
    build_queries(JobContext.open(shop))
    workspace = Workspace.open(shop)
    place = workspace.semantic_ids
    assert isinstance(place, Mirror)
    place.objects.remove(["v1/codes.parquet"])
    for folder in ("semantic_ids", "queries"):
        shutil.rmtree(shop / folder)
    summary = back_up(workspace, str(tmp_path / "backup"), SilentProgress())
    assert "codes.parquet is missing" in summary.damage
    restored = restore(str(tmp_path / "backup"), tmp_path / "restored", SilentProgress())
    assert restored.items == 60
    assert (tmp_path / "restored" / "queries" / "v1" / "manifest.json").is_file()


def test_a_backup_is_made_of_what_is_here_while_the_storage_is_away(
    url: str, tmp_path: Path
) -> None:
    shop = import_shop(tmp_path / "shop")
    settings = (shop / "serendip.toml").read_text()
    (shop / "serendip.toml").write_text(f'{settings}\n[storage]\nurl = "{url}"\n')
    with closing(Workspace.open(shop).open_store()) as store:
        store.compact()
    build_ids(JobContext.open(shop))
    publish(Workspace.open(shop).generations, partial(write_file, "one"), {})
    (tmp_path / "file").touch()  # where a folder was mounted
    away = tmp_path / "file" / "shop"
    (shop / "serendip.toml").write_text(f'{settings}\n[storage]\nurl = "{away}"\n')
    summary = back_up(Workspace.open(shop), str(tmp_path / "backup"), SilentProgress())
    assert len(summary.damage.splitlines()) == 1
    assert summary.damage.startswith(f"what may lie in {away}/queries, ")
    assert f", {away}/relevance" in summary.damage
    assert summary.generation == "gen-1"
    restore(str(tmp_path / "backup"), tmp_path / "restored", SilentProgress())
    assert (tmp_path / "restored" / "semantic_ids" / "v1" / "manifest.json").is_file()
    shutil.rmtree(shop / "generations")
    summary = back_up(Workspace.open(shop), str(tmp_path / "another"), SilentProgress())
    assert (summary.items, summary.generation) == (60, "")
    assert f"what may lie in {away}/generations: " in summary.damage


def test_a_damaged_version_stops_only_who_reads_it(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = import_shop(tmp_path / "shop")
    build_queries(JobContext.open(shop))
    publish_relevance(Workspace.open(shop).relevance, "typed")
    (shop / "relevance" / "v1" / "file").write_text("damage")
    workspace = add_storage(shop, url)
    build_ids(JobContext.open(shop))
    share_versions(workspace)
    assert "relevance does not get it" in caplog.text and "file is altered" in caplog.text
    assert query_versions(workspace).names() == ["v1"]
    with pytest.raises(ArtefactError, match="file is altered"):
        open_current_version(workspace.relevance)


def test_what_a_command_builds_first_in_a_storage_follows_what_was_here(
    url: str, tmp_path: Path
) -> None:
    shop = import_shop(tmp_path / "shop")
    build_ids(JobContext.open(shop))
    build_queries(JobContext.open(shop))
    workspace = add_storage(shop, url)
    assert build_ids(JobContext.open(shop), refit=True)[0].name == "v2"
    assert build_queries(JobContext.open(shop))[0] == "v2"
    for versions in (id_versions(workspace.semantic_ids), query_versions(workspace)):
        assert versions.names() == ["v1", "v2"]


def test_a_training_takes_ids_as_they_are_while_somebody_builds_others(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = import_shop(tmp_path / "shop", num_users=NUM_USERS)
    before, _ = build_ids(JobContext.open(shop))
    workspace = add_storage(shop, url)
    with closing(workspace.open_store()) as store:
        store.put_items([Item("new", "A new horror tale", attributes={"genre": "horror"})])
    with exclusive_lock(local_folder(workspace.semantic_ids)):
        generation = train(shop)
    assert generation.manifest["semantic_ids"]["version"] == "v1"
    assert "v1 of the semantic IDs is used as it is: another process is writing" in caplog.text
    state = EngineState.open(generation.folder)
    rows = [state.catalogue.vocabulary.number(name) for name in before.items.ids]
    np.testing.assert_array_equal(state.features.codes[rows], before.items.codes)
    (shop / "serendip.toml").write_text((shop / "serendip.toml").read_text() + ALIGNED)
    with exclusive_lock(local_folder(workspace.semantic_ids)):
        with pytest.raises(ConfigError, match="`semantic_ids` has changed"):
            extend_built_ids(JobContext.open(shop))


@pytest.mark.parametrize("has_storage", [True, False])
def test_ids_are_fitted_again_without_a_version_that_is_damaged(
    url: str, tmp_path: Path, has_storage: bool
) -> None:
    shop = import_shop(tmp_path / "shop")
    workspace = add_storage(shop, url) if has_storage else Workspace.open(shop)
    build_ids(JobContext.open(shop))
    place = workspace.semantic_ids
    if isinstance(place, Mirror):
        place.objects.remove(["v1/codes.parquet"])
    (shop / "semantic_ids" / "v1" / "codes.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"run `serendip ids build --refit`\.$"):
        build_ids(JobContext.open(shop))
    version, is_new = build_ids(JobContext.open(shop), refit=True)
    assert (version.name, is_new, version.manifest["parent"]) == ("v2", True, None)
    assert require_current(place).name == "v2"


@pytest.mark.parametrize("has_storage", [True, False])
def test_the_hint_about_damaged_queries_leads_to_others(
    url: str, tmp_path: Path, has_storage: bool
) -> None:
    shop = import_shop(tmp_path / "shop")
    build_queries(JobContext.open(shop))
    workspace = add_storage(shop, url) if has_storage else Workspace.open(shop)
    share_versions(workspace)
    place, here = workspace.queries, shop / "queries"
    if isinstance(place, Mirror):
        place.objects.remove(["v1/written.json"])
    (here / "v1" / "written.json").unlink()
    with pytest.raises(ArtefactError) as damage:
        build_queries(JobContext.open(shop))
    places = f"{url}/queries and in {here}" if has_storage else f"{here}"
    assert damage.value.hint.startswith(f"Delete the files `current*` in {places}, and run ")
    if isinstance(place, Mirror):
        place.objects.remove([key for key in place.objects.sizes("") if key.startswith("current")])
    for path in here.glob("current*"):
        path.unlink()
    assert build_queries(JobContext.open(shop))[0] == "v2"
    built = query_versions(workspace).current()
    assert built is not None and built.name == "v2"


def test_a_version_that_another_machine_built_meanwhile_is_not_replaced(
    url: str, tmp_path: Path
) -> None:
    first = import_shop(tmp_path / "first")
    add_storage(first, url)
    with closing(Workspace.open(first).open_store()) as store:
        store.compact()
    second = another_machine(first, tmp_path / "second")
    written = {"a tale for rainy days": "i3"}

    class Between(SilentProgress):
        """The other machine builds while this one verifies its candidates."""

        def track(
            self,
            items: Iterable[T],
            description: str,
            total: int,
            note: Callable[[], str] = empty_note,
        ) -> Iterator[T]:
            if description == "suggested queries":
                build_queries(JobContext.open(second), written)
            return super().track(items, description, total, note)

    context = JobContext.open(first, TrainOptions(progress=Between()))
    with pytest.raises(ConflictError):
        build_queries(context)
    current = query_versions(Workspace.open(first)).current()
    assert current is not None
    assert "a tale for rainy days" in (current.folder / "written.json").read_text()


def publish_relevance(place: Place, text: str) -> None:
    with exclusive_lock(local_folder(place)):
        model_versions(place).publish(partial(write_file, text), {})


def write_file(text: str, folder: Path) -> None:
    (folder / "file").write_text(text)


def test_status_and_doctor_say_where_things_lie(first: Path, tmp_path: Path, url: str) -> None:
    workspace = Workspace.open(another_machine(first, tmp_path / "second"))
    status = read_status(workspace)
    assert status.storage is not None and status.storage.in_force == "gen-2"
    assert status.storage.places[0].stored == ("gen-2",)
    assert len(status.storage.places[1].stored) == 1
    lines = list(describe(status))
    assert f"storage      {url}" in lines
    assert f"  {url}/generations: gen-2" in lines
    checks = {check["name"]: check for check in check_workspace(workspace)}
    assert checks["storage"]["status"] == "PASS"
    assert checks["generation"]["status"] == "PASS"


def test_a_backup_has_what_this_machine_has_no_copy_of(first: Path, tmp_path: Path) -> None:
    with closing(Engine.open(first)) as engine:
        engine.add_events([Event("new", "i3", 1.7e9)])
    with closing(Engine.open(first)) as engine:
        before = answers(engine)
    shutil.rmtree(first / "generations")
    shutil.rmtree(first / "log")
    back_up(Workspace.open(first), str(tmp_path / "backup"), SilentProgress())
    summary = restore(str(tmp_path / "backup"), tmp_path / "restored", SilentProgress())
    assert (summary.items, summary.generation) == (60, "gen-2")
    with closing(Engine.open(tmp_path / "restored")) as engine:
        assert answers(engine) == before
    # The restored log is another one: its writer leaves the segments of the first one alone.
    with closing(Workspace.open(tmp_path / "restored").open_store()) as store:
        assert store.compact() == 1
        assert len(store.history("new", 9)) == 1
    with closing(Workspace.open(another_machine(first, tmp_path / "second")).open_store()) as store:
        assert len(store.history("u3", 99)) > 5


def test_a_backup_in_a_bucket_is_a_workspace_again(url: str, tmp_path: Path) -> None:
    shop, place, silent = import_shop(tmp_path / "shop"), f"{url}/backup", SilentProgress()
    back_up(Workspace.open(shop), place, silent)
    assert verify(place, silent) > 5
    with pytest.raises(ConfigError, match="is not empty"):
        back_up(Workspace.open(shop), place, silent)
    assert restore(place, tmp_path / "restored", silent).items == 60
    with closing(Workspace.open(tmp_path / "restored").open_store()) as store:
        with closing(Workspace.open(shop).open_store()) as other:
            assert store.history("u3", 99) == other.history("u3", 99)
