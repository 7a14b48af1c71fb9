import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from commands import invoke
from small_shop import add_settings, import_shop

from serendip.cli.experiment import describe
from serendip.data import Event
from serendip.data.events.interleaving import mark_teams
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.experiments import ExperimentResult, read_result, read_runs, start, stop

START = 2e9  # after all events of the files
SETTINGS = """
[surfaces.dense]
task = "home"
[experiments.dense]
ramp = {ramp}
per = "{per}"
[experiments.dense.arms]
plain = {{}}
dense = {{surface = "dense"}}
"""
BOTH_LISTS = """
[experiments.both]
interleave = true
[experiments.both.arms]
likeness = {}
next = {surface = "ads"}
"""


def make_shop(folder: Path, ramp: float = 1, per: str = "user") -> Workspace:
    return Workspace.open(import_shop(folder, more=SETTINGS.format(ramp=ramp, per=per)))


def put(workspace: Workspace, events: Sequence[Event], pack: bool = False) -> ExperimentResult:
    with closing(workspace.open_store()) as store:
        store.put_events(events)
        if pack:
            store.pack()
    return read_result(workspace, "dense")


def shown(user: str, **fields: object) -> Event:
    return Event(user, "i1", START + 1, "impression", surface="home", **fields)


def clicked(user: str, **fields: object) -> Event:
    return Event(user, "i1", START + 2, "click", surface="home", **fields)


@pytest.mark.parametrize("pack", [False, True])
def test_an_arm_that_is_chosen_from_more_is_better_and_one_that_loses_users_has_no_verdict(
    tmp_path: Path, pack: bool
) -> None:
    workspace = make_shop(tmp_path)
    run = start(workspace, "dense", lambda: START)
    users = [f"v{number}" for number in range(600)]
    dense = [user for user in users if run.place(user)[0] == "dense"]
    clicks = np.random.default_rng(0).poisson(1.0, len(users)).tolist()
    events = [
        clicked(user) for user, count in zip(users, clicks, strict=True) for _ in range(count)
    ]
    events += [clicked(user) for user in dense]
    elsewhere = [Event(user, "i1", START + 3, "click", surface="similar") for user in users]
    late_and_early = [Event(user, "i1", START - 1, "rate") for user in users]
    result = put(workspace, [*map(shown, users), *events, *elsewhere, *late_and_early], pack)
    plain, better = result.arms
    assert (plain.users + better.users, better.users) == (600, len(dense))
    assert (better.verdict, result.seen_by, plain.verdict) == ("better", "impressions", "")
    assert better.difference.low < 1 < better.difference.high
    hides = [Event(user, "i2", START + 4, "hide") for user in dense]
    result = put(workspace, hides)
    assert result.arms[1].rejections.value == pytest.approx(1)
    assert list(describe(result))[-1] == "verdict: dense: better, but its users reject more"
    lost = [shown(f"w{n}") for n in range(400) if run.place(f"w{n}")[0] == "plain"]
    result = put(workspace, lost)
    assert (result.arms[1].verdict, result.ratio_p < 0.001) == ("wrong sample ratio", True)


def test_without_impressions_users_who_came_before_are_compared(tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    start(workspace, "dense", lambda: START)
    earlier = [Event(f"v{number}", "i1", START - 100, "rate") for number in range(40)]
    result = put(workspace, [*earlier, clicked("newcomer")])
    assert result.seen_by == "events before the start"
    assert sum(arm.users for arm in result.arms) == 40
    assert result.arms[1].verdict == "go on"


def test_what_happens_after_the_end_does_not_count(tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    start(workspace, "dense", lambda: START)
    assert stop(workspace, "dense", lambda: START + 1.5).stopped == START + 1.5
    result = put(workspace, [shown("v1"), clicked("v1")])
    assert [arm.mean for arm in result.arms if arm.users] == [0.0]


def test_a_growing_ramp_counts_users_from_when_they_came_in(tmp_path: Path) -> None:
    first = start(make_shop(tmp_path, ramp=0.1), "dense", lambda: START)
    users = [f"v{number}" for number in range(100)]
    inside = [user for user in users if first.place(user)[0]]
    workspace = make_shop(tmp_path / "again", ramp=0.1)
    start(workspace, "dense", lambda: START)

    def reopen(ramp: str) -> Workspace:
        path = tmp_path / "again" / "serendip.toml"
        path.write_text(re.sub(r"ramp = .*", f"ramp = {ramp}", path.read_text()))
        return Workspace.open(tmp_path / "again")

    workspace = reopen("1")
    grown = start(workspace, "dense", lambda: START + 1.5)
    assert [grown.place(user) for user in inside] == [first.place(user) for user in inside]
    assert 0 < len(inside) < 30
    # Impressions of the others came too early.
    result = put(workspace, list(map(shown, users)))
    assert sum(arm.users for arm in result.arms) == len(inside)
    with pytest.raises(DataError, match="other settings"):
        start(reopen("0.05"), "dense")


def test_users_whom_another_experiment_holds_out_are_not_compared(tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    add_settings(
        tmp_path,
        '\n[experiments.all]\nsurfaces = ["next"]\n[experiments.all.arms]\n'
        "everybody = {share = 0.5}\nholdout = {share = 0.5}\n",
    )
    workspace = Workspace.open(tmp_path)
    start(workspace, "dense", lambda: START)
    other = start(workspace, "all", lambda: START)
    users = [f"v{number}" for number in range(100)]
    free = [user for user in users if other.place(user)[0] != "holdout"]
    result = put(workspace, list(map(shown, users)))
    assert sum(arm.users for arm in result.arms) == len(free) < 70


def test_sessions_are_counted_where_events_have_them(tmp_path: Path) -> None:
    workspace = make_shop(tmp_path, per="session")
    start(workspace, "dense", lambda: START)
    with pytest.raises(DataError, match="session_id"):
        put(workspace, [shown("v1")])
    visits = [shown("v1", session_id=f"s{number}") for number in range(4)]
    result = put(workspace, [*visits, clicked("v1", session_id="s1")])
    assert [arm.mean for arm in result.arms if arm.users] == [0.25]


def test_clicks_on_an_interleaved_list_count_for_the_list_that_placed_them(tmp_path: Path) -> None:
    import_shop(tmp_path, more=BOTH_LISTS.replace("ads", "dense") + SETTINGS.split("[exp")[0])
    workspace = Workspace.open(tmp_path)
    start(workspace, "both", lambda: START)
    request_id = mark_teams("0" * 32, [0, 1, 1, 0])
    where = {"request_id": request_id}
    events = [
        clicked(f"v{number}", position=position, **where)
        for number in range(150)
        for position in (0, 1, 2)  # 1 and 2 are of the second list
    ]
    events += [clicked(f"w{number}", position=0, **where) for number in range(30)]
    events += [clicked("x", position=9, **where), clicked("y", **where), clicked("z", position=1)]
    with closing(workspace.open_store()) as store:
        store.put_events(events)
    result = read_result(workspace, "both")
    first, second = result.arms
    assert (first.users, second.users, second.verdict) == (30, 150, "better")
    assert second.difference.value == pytest.approx(120 / 180)


def test_a_started_experiment_keeps_its_settings_and_its_surface(tmp_path: Path) -> None:
    add_settings(tmp_path := import_shop(tmp_path), SETTINGS.format(ramp=1, per="user"))
    add_settings(tmp_path, BOTH_LISTS.replace("ads", "dense"))
    folder = ("-w", str(tmp_path))
    assert invoke("experiment", "start", "dense", *folder)[0] == 0
    with pytest.raises(DataError) as refusal:
        invoke("experiment", "start", "both", *folder)
    assert "stop dense" in refusal.value.hint
    add_settings(tmp_path, "\n[surfaces.dense.diversity]\nmost = 2\n")
    with pytest.raises(DataError) as refusal:
        invoke("experiment", "start", "dense", *folder)
    assert "another name" in refusal.value.hint
    status = invoke("experiment", "status", "dense", *folder)[1]
    assert (status["is_changed"], status["run"]["name"]) == (True, "dense")
    assert invoke("experiment", "stop", "dense", *folder)[1]["stopped"] > 0
    assert invoke("experiment", "start", "both", *folder)[0] == 0
    listed = invoke("experiment", "status", *folder)[1]["experiments"]
    assert [(one["name"], bool(one["stopped"])) for one in listed] == [
        ("dense", True),
        ("both", False),
    ]
    assert len(read_runs(Workspace.open(tmp_path))) == 2
    with pytest.raises(DataError, match="was not started"):
        invoke("experiment", "stop", "neither", *folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("plain = {share = 0.6}", "sum to 1.1"),
        ('plain = {surface = "nowhere"}', "nowhere"),
        ('plain = {surface = "search"}', "need the same of a request"),
        ('plain = {surface = "ads"}', "sell positions"),
        ("holdout = {}", "not the first arm"),
    ],
)
def test_settings_that_cannot_be_compared_are_refused(
    tmp_path: Path, change: str, problem: str
) -> None:
    text = SETTINGS.format(ramp=1, per="user").replace("plain = {}", change)
    with pytest.raises(ConfigError, match=problem):
        Workspace.open(import_shop(tmp_path, more=text))
