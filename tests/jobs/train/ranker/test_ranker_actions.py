"""The ranker predicts every action that the settings name, or says at once that it cannot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from small_shop import write_files

from serendip.data.snapshot import take_snapshot
from serendip.data.splits import temporal
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.evaluate import evaluate_workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.train.ranker.labels import label_actions, require_actions
from serendip.jobs.train.train import train_workspace
from serendip.runtime.timing import StageClock

SETTINGS = """
actions = ["interact", "like", "purchase"]

[surfaces.home]
action_weights = {interact = 0.5, purchase = 2.0}

[surfaces.ads]
sponsored = {action = "purchase"}
"""


def shop_with(folder: Path, action: str, share: float = 1.0) -> Workspace:
    """A small shop in which an action follows every rating of 4 or more in a share of its time."""
    write_files(folder)
    with (folder / "events.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    times = sorted(float(row[2]) for row in rows[1:])
    end = times[int(share * (len(times) - 1))]
    more = [
        [row[0], row[1], str(int(row[2]) + 60), action, ""]
        for row in rows[1:]
        if float(row[4]) >= 4 and float(row[2]) < end
    ]
    with (folder / "events.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([*rows, *more])
    settings = folder / "serendip.toml"
    settings.write_text(settings.read_text() + SETTINGS)
    workspace = Workspace.open(folder)
    import_files(workspace)
    return workspace


def test_a_shop_with_purchases_trains_three_heads_and_answers_name_them(tmp_path: Path) -> None:
    workspace = shop_with(tmp_path, "purchase")
    train_workspace(JobContext(workspace))
    with closing(Engine.open(tmp_path)) as engine:
        ranker = engine.state.ranker
        assert ranker is not None
        assert ranker.config.actions == ("interact", "like", "purchase")
        answer = engine.recommend(Request("home", "u0", k=20))
        for one in answer.items:
            chances = [one.parts[f"P({name})"] for name in ranker.config.actions]
            assert all(0 < chance < 1 for chance in chances)
            assert one.score == pytest.approx(0.5 * chances[0] + 2 * chances[2], abs=1e-4)
        found = engine.search("comedy", user_id="u0").items[0]
        # Nobody has searched yet: the ranker does not order searches.
        assert "P(purchase)" not in found.parts
        told = engine.explain(Request("home", "u0"), answer.items[0].item_id).parts
        assert told["P(purchase)"] == answer.items[0].parts["P(purchase)"]


@pytest.mark.parametrize(("action", "share"), [("hide", 1.0), ("order", 1.0), ("purchase", 0.5)])
def test_an_action_that_cannot_be_learned_is_refused_before_anything_is_trained(
    tmp_path: Path, action: str, share: float
) -> None:
    workspace = shop_with(tmp_path, action, share)
    for run in (train_workspace, evaluate_workspace):
        clock = StageClock()
        words = r"newest 15% .* action 'purchase'; present: .*rate \("
        with pytest.raises(ConfigError, match=words) as refused:
            run(JobContext(workspace, clock=clock))
        assert ("order (" in refused.value.message) is (action == "order")
        assert "hide" not in refused.value.message
        assert {stage.name for stage in clock.stages} <= {"snapshot"}


def test_a_shop_without_a_ranker_may_wait_for_its_actions(tmp_path: Path) -> None:
    workspace = shop_with(tmp_path, "purchase", 0.0)
    with closing(workspace.open_store()) as store:
        dataset = temporal(take_snapshot(store, workspace.settings.actions), 0.3).train
    assert 0 < len(dataset.events) < 200
    require_actions(dataset, workspace.settings.ranker.actions)


@pytest.mark.parametrize(
    ("liked", "actions", "names"),
    [
        (True, ["purchase"], {"interact", "like", "purchase"}),
        (False, ["purchase", "click"], {"interact", "purchase", "click"}),
        (False, ["like"], {"interact"}),
        (True, [], {"interact", "like"}),
    ],
)
def test_interest_and_liking_are_derived_and_other_actions_are_those_of_the_log(
    liked: bool, actions: Sequence[str], names: set[str]
) -> None:
    assert label_actions(liked, actions) == names
