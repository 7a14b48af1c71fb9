from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from commands import invoke
from generation_files import read_facts, read_generation
from postgres_server import PostgresServer, move_to_server
from small_shop import add_settings, import_shop
from stand import NUM_USERS

from serendip.data import Event
from serendip.engine.artefacts.generations import current_name, open_current, open_in_force
from serendip.engine.artefacts.training_record import FAILED, TrainingRecord
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.jobs.context import JobContext
from serendip.jobs.train.continuation import MOST_NEW
from serendip.jobs.train.fingerprint import hash_code
from serendip.jobs.train.parts.plan import PartInputs
from serendip.jobs.train.train import plan_training, train_workspace
from serendip.models.sparse import row_tasks
from serendip.runtime.executor import LocalExecutor
from serendip.runtime.progress import SilentProgress, StageClock, TrainOptions, empty_note
from serendip.runtime.versions import Version


def train(shop: Path, rebuild: bool = False, only: str = "") -> Version:
    return train_workspace(JobContext.open(shop), rebuild=rebuild, only=only)


def reasons(shop: Path, only: str = "") -> dict[str, str]:
    inputs = PartInputs(JobContext.open(shop), open_in_force(shop / "generations"))
    plans = plan_training(inputs, rebuild=False, only=only)
    return {name: plan.reason for name, plan in plans.items()}


def built_by(generation: Version) -> list[str]:
    return [name for name, part in generation.manifest["parts"].items() if "linked" not in part]


def test_one_changed_setting_of_suggestions_builds_these_and_what_is_made_of_them(
    fresh: Path,
) -> None:
    train(fresh)
    assert set(reasons(fresh).values()) == {""}
    assert train(fresh).name == "gen-1"  # nothing is published
    add_settings(fresh, '\n[queries]\nphrases = ["title"]\n')
    first = open_current(Workspace.open(fresh).generations)
    found = {name: reason for name, reason in reasons(fresh).items() if reason}
    assert found == {"suggestions": "[queries] changed"}
    second = train(fresh)
    assert built_by(second) == [*found]
    for part in ("content", "ranker", "models"):
        file = min((first.folder / part).rglob("*.npy"))
        assert (second.folder / file.relative_to(first.folder)).samefile(file)
    compare_with_a_training_of_everything(fresh, second)
    with Engine.open(fresh) as engine:
        assert engine.recommend(Request("home", user_id="u3")).items


def compare_with_a_training_of_everything(shop: Path, generation: Version) -> None:
    afresh = train(shop, rebuild=True)
    assert built_by(afresh) == [*afresh.manifest["parts"]]
    linked, built = read_generation(generation.folder), read_generation(afresh.folder)
    assert list(linked) == list(built)
    # Only what compares with the generation before knows that this is the third one.
    others = [name for name in built if built[name] != linked[name]]
    assert others == ["manifest.json", "models/_space/0-rotation.npy"]
    for fact in ("counts", "settings", "queries"):
        assert generation.manifest[fact] == afresh.manifest[fact], fact
    chosen, again = (version.manifest["decisions"] for version in (generation, afresh))
    assert chosen.keys() == again.keys() and chosen["ranker"] == again["ranker"]


def put_events(shop: Path, count: int) -> None:
    with Workspace.open(shop).open_store() as store:
        store.put_events(
            Event("u3", f"i{row % 9}", 1.7e9 + row, "rate", 5.0) for row in range(count)
        )


def test_a_few_new_events_build_models_that_continue_from_the_older_part(fresh: Path) -> None:
    first = train(fresh)
    put_events(fresh, 1)
    second = train(fresh)
    assert built_by(second) == ["models", "suggestions"]
    before, after = (version.manifest["counts"]["events"] for version in (first, second))
    assert after == before + 1
    put_events(fresh, int(MOST_NEW * before) + 1)
    assert reasons(fresh)["ranker"] == "the data changed"
    third = train(fresh)
    assert "ranker" in built_by(third) and "content" not in built_by(third)


def test_a_word_list_is_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serendip.__file__", str(tmp_path / "__init__.py"))
    found = []
    for words in ("rude", "rude\nlewd"):
        (tmp_path / "unsafe_words.txt").write_text(words)
        found.append(hash_code.__wrapped__())
    assert found[0] != found[1]


def test_an_erasure_builds_the_older_part_again(fresh: Path) -> None:
    train(fresh)
    with Workspace.open(fresh).open_store() as store:
        assert store.erase_user("u1")
    found = reasons(fresh)
    assert found["ranker"] == "the data changed" and not found["content"]


def test_one_changed_setting_of_the_ranker_keeps_the_models(fresh: Path) -> None:
    train(fresh)
    path = fresh / "serendip.toml"
    text = path.read_text()
    assert "[ranker]\nepochs = 2" in text
    path.write_text(text.replace("[ranker]\nepochs = 2", "[ranker]\nepochs = 3"))
    found = {name: reason for name, reason in reasons(fresh).items() if reason}
    assert found == {"ranker": "[ranker] changed"}
    compare_with_a_training_of_everything(fresh, train(fresh))


def test_a_linked_part_is_that_of_the_generation_that_built_it(stand: Path) -> None:
    for limit in (1, 2):
        add_settings(stand, "" if limit > 1 else "\n[queries]\ncategory = 'genre'\n")
        generation = train(stand, only="suggestions")
        assert generation.manifest["parts"]["models"]["linked"] == "gen-1"
    assert generation.name == "gen-3"


def test_a_part_is_built_alone_only_if_nothing_else_has_changed_and_the_command_says_so(
    stand: Path,
) -> None:
    code, found = invoke("train", "--workspace", str(stand), "--explain")
    assert code == 0 and set(found.values()) == {""}
    code, found = invoke("train", "--workspace", str(stand))
    assert (code, found["generation"], found["trained"]) == (0, "gen-1", False)

    assert reasons(stand, "suggestions")["suggestions"] == "it was asked for"
    add_settings(stand, "\n[context]\nuse = 'off'\n")
    with pytest.raises(ConfigError, match=r"alone: ranker would be built too, as \[context\]"):
        train(stand, only="suggestions")
    with pytest.raises(ConfigError, match="there is no part 'words'"):
        train(stand, only="words")


def test_one_process_and_two_publish_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_tasks, "BLOCKS_PER_TASK", 2)
    found = []
    for workers in (1, 2):
        folder = import_shop(tmp_path / str(workers), num_users=20)
        options = TrainOptions(executor=LocalExecutor(workers))
        generation = train_workspace(JobContext.open(folder, options))
        found.append(read_generation(generation.folder))
    one, two = found
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == ["manifest.json"]
    assert read_facts(one["manifest.json"]) == read_facts(two["manifest.json"])
    assert any(name.startswith("ranker/") for name in one)


class FailoverProgress(SilentProgress):
    """Ends the sessions of all locks when a stage begins."""

    def __init__(self, server: PostgresServer, stage: str) -> None:
        self._server, self._stage = server, stage

    def show(
        self, description: str, total: int | None = None, note: Callable[[], str] = empty_note
    ) -> AbstractContextManager[Callable[[], None]]:
        if description == self._stage:
            self._server.end_locks()
        return super().show(description, total, note)


@pytest.fixture
def on_server(postgres_server: PostgresServer, tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop", num_users=NUM_USERS)
    return move_to_server(folder, postgres_server.empty_url())


def test_a_lock_lost_while_a_training_runs_stops_it_before_it_publishes(
    on_server: Path, postgres_server: PostgresServer
) -> None:
    progress = FailoverProgress(postgres_server, "gates")
    clock = StageClock(progress=progress)
    context = JobContext.open(on_server, TrainOptions(progress=progress), clock)
    with pytest.raises(StorageError, match=r"the lock `training` .* was lost") as told:
        train_workspace(context)
    assert "run the command again" in told.value.hint
    assert current_name(on_server / "generations") == ""
    assert not list((on_server / "generations").glob("gen-*"))
    record = TrainingRecord.read(on_server / "training")
    assert (record.result, record.message) == (FAILED, str(told.value))
