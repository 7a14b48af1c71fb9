"""What has not changed is linked from the generation in force, and the rest is built."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from commands import invoke
from generation_files import read_generation

from serendip.data.events.event import Event
from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.train.train import plan_training, train_workspace
from serendip.runtime.versions import Version


def train(shop: Path, rebuild: bool = False, only: str = "") -> Version:
    return train_workspace(JobContext.open(shop), rebuild=rebuild, only=only)


def add_settings(shop: Path, text: str) -> None:
    with (shop / "serendip.toml").open("a") as stream:
        stream.write(text)


def reasons(shop: Path, only: str = "") -> dict[str, str]:
    plans = plan_training(JobContext.open(shop), only=only)
    return {name: plan.reason for name, plan in plans.items()}


@pytest.fixture
def trained(fresh: Path) -> Path:
    train(fresh)
    return fresh


def test_one_changed_setting_of_suggestions_builds_these_and_what_is_made_of_them(
    trained: Path, tmp_path: Path
) -> None:
    assert set(reasons(trained).values()) == {""}
    assert train(trained).name == "gen-1"  # nothing is published
    add_settings(trained, '\n[queries]\nsources = ["fields"]\n')
    first = open_current(Workspace.open(trained).generations)
    found = reasons(trained)
    assert found.pop("models") == found.pop("relevance") == ""
    assert found == {"suggestions": "[queries] changed", "rewrites": "suggestions is built"}
    second = train(trained)
    parts = second.manifest["parts"]
    assert [name for name, part in parts.items() if "linked" in part] == ["models", "relevance"]
    assert (second.folder / "codes.npy").samefile(first.folder / "codes.npy")
    afresh = train(trained, rebuild=True)
    linked, built = read_generation(second.folder), read_generation(afresh.folder)
    assert list(linked) == list(built)
    # Only what compares with the generation before knows that this is the third one.
    others = [name for name in built if built[name] != linked[name]]
    assert others == ["manifest.json", "space/space.npz"]
    assert not any("linked" in part for part in afresh.manifest["parts"].values())
    for fact in ("counts", "settings", "queries", "rewrites"):
        assert second.manifest[fact] == afresh.manifest[fact], fact
    chosen, again = (version.manifest["decisions"] for version in (second, afresh))
    assert chosen.keys() == again.keys() and chosen["models"] == again["models"]
    with closing(Engine.open(trained)) as engine:
        assert engine.recommend(Request("home", user_id="u3")).items


def test_a_linked_part_is_that_of_the_generation_that_built_it(trained: Path) -> None:
    for limit in (1, 2):
        add_settings(trained, "" if limit > 1 else "\n[queries]\nyoung_days = 7\n")
        generation = train(trained, only="suggestions")
        assert generation.manifest["parts"]["models"]["linked"] == "gen-1"
    assert generation.name == "gen-3"


def test_new_events_build_all(trained: Path) -> None:
    with closing(Workspace.open(trained).open_store()) as store:
        store.put_events([Event("u1", "i3", 1.7e9, "click")])
    found = reasons(trained)
    assert found["models"] == "the data changed"
    assert all(found.values())


def test_a_part_is_built_alone_only_if_nothing_else_has_changed(trained: Path) -> None:
    assert reasons(trained, "rewrites")["rewrites"] == "it was asked for"
    add_settings(trained, "\n[context]\nuse = 'off'\n")
    with pytest.raises(ConfigError, match=r"alone: models would be built too, as \[context\]"):
        train(trained, only="suggestions")
    with pytest.raises(ConfigError, match="there is no part 'words'"):
        train(trained, only="words")


def test_the_command_says_what_it_would_build_and_what_it_has_linked(trained: Path) -> None:
    code, found = invoke("train", "--workspace", str(trained), "--explain")
    assert code == 0 and set(found.values()) == {""}
    code, found = invoke("train", "--workspace", str(trained))
    assert (code, found["generation"], found["trained"]) == (0, "gen-1", False)
