from collections.abc import Iterator
from pathlib import Path

import pytest
from small_shop import add_settings

from serendip.data.events.interleaving import mark_teams, read_teams
from serendip.data.rules import Rule
from serendip.engine.engine import Engine
from serendip.engine.experiments import RUNS, Experiments, draft
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.jobs.experiments import start, stop

SETTINGS = """
[surfaces.other]
task = "home"
scorer = "popularity"
filters = []

[experiments.scorer]
[experiments.scorer.arms]
ranker = {share = 0.4}
popular = {surface = "other", share = 0.4}

[experiments.lists]
surfaces = ["next"]
interleave = true
[experiments.lists.arms]
next = {}
similar = {surface = "similar"}

[experiments.all]
surfaces = ["cart"]
[experiments.all.arms]
everybody = {share = 0.8}
holdout = {share = 0.2}
"""
USERS = [f"v{number}" for number in range(60)]


@pytest.fixture
def engine(stand: Path) -> Iterator[Engine]:
    add_settings(stand, SETTINGS)
    with Engine.open(stand, lambda: 1.7e9) as opened:
        yield opened


def ids(answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_the_surface_of_an_arm_answers_from_the_start_to_the_end(
    engine: Engine, stand: Path
) -> None:
    workspace = Workspace.open(stand)
    run = start(workspace, "scorer")
    assert engine.recommend(Request("home", USERS[0])).experiment == ""
    engine.catch_up()
    arms = {user: run.place(user)[0] for user in USERS}
    assert {*arms.values()} == {"", "ranker", "popular"}
    for user, arm in list(arms.items())[:20]:
        answer = engine.recommend(Request("home", user))
        named = "scorer" if arm else ""
        assert (answer.experiment, answer.arm, answer.surface) == (named, arm, "home")
        surface = "other" if arm == "popular" else "home"
        same = engine.run(engine.queries([Request(surface, user)]), surface)[0].items
        assert ids(answer) == engine.item_ids(same.item_nums[:10])
        fallen = engine.fall_back(Request("home", user))
        assert (fallen.experiment, fallen.arm, fallen.surface) == (named, arm, "home")
    visitor = engine.recommend(Request("home"))
    assert (visitor.experiment, visitor.arm) == ("", "")
    stop(workspace, "scorer")
    engine.catch_up()
    assert {engine.recommend(Request("home", user)).experiment for user in USERS[:9]} == {""}


def test_rules_of_the_requested_surface_count_in_all_arms(engine: Engine, stand: Path) -> None:
    run = start(Workspace.open(stand), "scorer")
    engine.catch_up()
    user = next(user for user in USERS if run.place(user)[0] == "popular")
    first, second, *_ = ids(engine.recommend(Request("home", user)))
    engine.put_rules(
        [
            Rule("gone", "hide", surfaces=("home",), items=(first,)),
            Rule("too", "hide", surfaces=("other",), items=(second,)),
            Rule("told", "banner", surfaces=("home",), value="Sale"),
        ]
    )
    for answer in (engine.recommend, engine.fall_back):
        shown = answer(Request("home", user, k=50))
        assert not {first, second} & {*ids(shown)} and shown.banner == "Sale"
    assert engine.explain(Request("home", user), first).rules == ("gone",)


def test_pages_of_an_interleaved_list_repeat_nothing_and_tell_their_teams(
    engine: Engine, stand: Path
) -> None:
    start(Workspace.open(stand), "lists")
    engine.catch_up()
    seen: list[str] = []
    firsts: set[int] = set()
    for user in USERS[:12]:
        request = Request("next", user, item_ids=("i7",), k=4)
        answer = engine.recommend(request)
        again = engine.recommend(request)
        assert ids(again) == ids(answer)
        assert (answer.experiment, answer.arm, answer.surface) == ("lists", "", "next")
        assert read_teams(again.request_id) == read_teams(answer.request_id)
        teams = read_teams(answer.request_id)
        assert sorted(teams) == [0, 0, 1, 1]
        firsts.add(teams[0])
        lists = [
            engine.item_ids(engine.run(engine.queries([asked]), name)[0].items.item_nums)
            for name in ("next", "similar")
            for asked in [Request(name, user, item_ids=("i7",))]
        ]
        for item, team in zip(answer.items, teams, strict=True):
            assert item.item_id in lists[team][:4]
            assert 0 < item.parts.get("propensity", 1) <= 1
        seen = ids(answer)
        while answer.next and len(seen) < 16:
            answer = engine.recommend(
                Request("next", user, item_ids=("i7",), k=4, cursor=answer.next)
            )
            seen += ids(answer)
        assert len(seen) == len(set(seen)) >= 10
    assert firsts == {0, 1}


def test_who_is_held_out_is_in_no_other_experiment(engine: Engine, stand: Path) -> None:
    workspace = Workspace.open(stand)
    start(workspace, "scorer")
    holding = start(workspace, "all")
    engine.catch_up()
    held = [user for user in USERS if holding.place(user)[0] == "holdout"]
    assert 0 < len(held) < 30
    assert {engine.recommend(Request("home", user)).experiment for user in held} == {""}
    answer = engine.recommend(Request("cart", held[0], item_ids=("i7",)))
    assert (answer.experiment, answer.arm) == ("all", "holdout")


def test_an_experiment_whose_surface_is_gone_does_not_run(stand: Path) -> None:
    add_settings(stand, SETTINGS)
    workspace = Workspace.open(stand)
    text = RUNS.dump_json((start(workspace, "scorer"),)).decode()
    surfaces = workspace.settings.all_surfaces()
    assert len(Experiments.read(text, surfaces).runs) == 1
    del surfaces["other"]
    assert Experiments.read(text, surfaces).runs == ()


def test_arms_have_their_shares_and_experiments_do_not_share_them(stand: Path) -> None:
    add_settings(stand, SETTINGS.replace("experiments.all", "experiments.rest"))
    workspace = Workspace.open(stand)
    first, second = start(workspace, "scorer"), start(workspace, "rest")
    users = [f"u{number}" for number in range(10_000)]
    chosen = [user for user in users if first.place(user)[0] == "popular"]
    assert len(chosen) == pytest.approx(4_000, abs=200)
    both = [user for user in chosen if second.place(user)[0] == "holdout"]
    assert len(both) == pytest.approx(800, abs=120)


def test_a_draft_is_fair_and_ends_where_a_ranking_does() -> None:
    lists = ["abcde", "xaycz"]
    drafts = [list(draft(lists, 5, seed)) for seed in range(2_000)]
    firsts = [picks[0][0] for picks in drafts]
    assert sum(firsts) == pytest.approx(1_000, abs=100)
    for picks in drafts[:50]:
        shown = [lists[team][place] for team, place, _ in picks]
        assert len({*shown}) == len(shown) == 5
        assert [{team for team, *_ in picks[at : at + 2]} for at in (0, 2)] == [{0, 1}] * 2
    assert {chance for picks in drafts for *_, chance in picks[::2]} == {0.5, 1.0}
    assert {chance for picks in drafts for *_, chance in picks[1::2]} == {1.0}
    assert len(list(draft(["ab", "ba"], 9, 0))) == 2
    assert list(draft(["ab", ""], 9, 0)) == []


@pytest.mark.parametrize("teams", [[], [0], [1], [0, 0, 1], [1, 0] * 50])
def test_the_id_of_an_answer_brings_its_teams_back(teams: list[int]) -> None:
    marked = mark_teams("0123456789abcdef" * 2, teams)
    assert read_teams(marked) == teams
    assert len(marked) <= 33 + 26
    assert read_teams(marked[:32]) == read_teams("x-1f") == []
