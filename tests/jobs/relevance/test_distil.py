import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoke
from small_shop import NUM_ITEMS, TASTES, WITHOUT_SEARCHES, add_settings, import_shop

from serendip.data import History
from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.matches import Matches
from serendip.engine.request import Request
from serendip.engine.stages.list_filters import (
    CHECKED,
    P_IRRELEVANT,
    RelevanceFilter,
    RelevanceFilterConfig,
)
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.state_parts import RELEVANCE, RelevanceFacts, open_state
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.evaluate.decision import DECISIONS, Decision, read_table
from serendip.jobs.context import JobContext
from serendip.jobs.labels.draw_lists import MOST_PAST
from serendip.jobs.labels.pair_files import ListRequest, describe_request, read_lists, write_lists
from serendip.jobs.relevance.decisions import GOAL, NAME, PROVEN, decide_filters
from serendip.jobs.relevance.model import REPORTS, open_distilled
from serendip.jobs.train.train import train_workspace
from serendip.runtime.versions import Version

FILTER_TABLE = "\n[surfaces.search.relevance_filter]\nthreshold = 0.5\n"
LLM_COLUMNS = ("query", "item_id", "label", "model")


def write_labels(
    path: Path, queries: range, columns: tuple[str, ...] = LLM_COLUMNS[:3], wrong: int = 0
) -> Path:
    """Each query names a taste; items of other tastes are irrelevant."""
    rows = []
    for query in queries:
        taste = TASTES[query % 3]
        for item in range(query % 4, NUM_ITEMS, 4):
            is_irrelevant = (item % 3 != query % 3) != (query < queries.start + wrong)
            label = "bad" if is_irrelevant else "good"
            rows.append((f"{taste} {query}", f"i{item}", label, "some-model")[: len(columns)])
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a distilled relevance model, trained with the filter."""
    folder = tmp_path_factory.mktemp("judge") / "shop"
    import_shop(folder, more=WITHOUT_SEARCHES)
    write_labels(folder / "labels.csv", range(100, 160))
    write_labels(folder / "gold.csv", range(200, 260))
    code, _ = invoke(*distil(folder))
    assert code == 0
    code, result = invoke(*distil_home(folder))
    assert (code, result["labels"], result["knows_users"]) == (0, "home", True)
    assert [*read_reports(folder)] == ["search", "home"]
    add_settings(folder, FILTER_TABLE)
    train_workspace(JobContext.open(folder))
    return folder


def read_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """Surface of the labels -> report of the relevance model in force."""
    return open_current(folder / "generations").manifest[REPORTS]


def write_home_lists(folder: Path, users: int = 120, decides: bool = True) -> None:
    """Users who chose items of one taste; the newest item tells nothing. Even users are gold.

    Items of other tastes are irrelevant; if the user decides nothing, those of a taste are for all.
    """
    random, lists, rows = np.random.default_rng(0), [], []
    for user in range(users):
        mine = np.arange(user % 3, NUM_ITEMS, 3)
        past = [*random.choice(mine, 4, replace=False).tolist(), int(random.integers(NUM_ITEMS))]
        items = random.choice(NUM_ITEMS, 20, replace=False).tolist()
        words = describe_request("", [f"tale {item}" for item in past], {"user": str(user)})
        lists.append((ListRequest(words, past=tuple(f"i{n}" for n in past)), items))
        labels = ("good" if item % 3 == user % 3 * decides else "bad" for item in items)
        rows.append([(words, f"i{n}", label) for n, label in zip(items, labels, strict=True)])
    shown = ((request, [f"i{item}" for item in items]) for request, items in lists)
    write_lists(folder / "lists.csv", "home", shown)
    for name, part in (("home-gold.csv", rows[::2]), ("home-labels.csv", rows[1::2])):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([LLM_COLUMNS[:3], *(row for rows in part for row in rows)])


def distil_home(folder: Path, decides: bool = True) -> list[str]:
    write_home_lists(folder, decides=decides)
    files = ("--labels", str(folder / "home-labels.csv"), "--gold", str(folder / "home-gold.csv"))
    lists = ("--lists", str(folder / "lists.csv"))
    return ["judge", "distil", *files, *lists, "-w", str(folder)]


def distil(folder: Path, labels: str = "labels.csv", *more: str) -> list[str]:
    files = ("--labels", str(folder / labels), "--gold", str(folder / "gold.csv"))
    return ["judge", "distil", *files, "-w", str(folder), *more]


def read_filters(generation: Version) -> dict[str, Decision]:
    found = read_table(generation.manifest[DECISIONS])
    return {one.name.removeprefix(NAME): one for one in found if one.name.startswith(NAME)}


def test_a_distilled_model_generalises_to_unseen_queries(shop: Path) -> None:
    manifest = read_reports(shop)["search"]
    assert manifest["queries"] == {"learned": 60, "gold": 60}
    assert manifest["auroc"] > 0.95
    assert (manifest["gate"]["on"], manifest["gate"]["reason"]) == (True, "by people")
    assert manifest["filter"]["tenth"]["lost"] == 0


def test_irrelevant_items_are_replaced_and_the_trace_counts_them(shop: Path) -> None:
    engine = Engine.open(shop)
    query = engine.queries([Request("search", text="horror tale")])
    filtered = engine.run(query, "search")[0]
    genres = {
        engine.item(item).attributes["genre"] for item in engine.item_ids(filtered.items.item_nums)
    }
    assert genres == {"horror"}
    assert len(filtered.items) == NUM_ITEMS // 3
    assert (
        filtered.trace["after relevance filter"]
        == len(filtered.items)
        < filtered.trace["candidates"]
    )
    assert filtered.trace[CHECKED] == filtered.trace["candidates"] == NUM_ITEMS
    assert (filtered.items.fields[P_IRRELEVANT] < 0.5).all()
    answer = engine.search("horror tale", k=3, parts=True)
    assert all(item.parts[P_IRRELEVANT] < 0.5 for item in answer.items)
    explanation = engine.explain(Request("search", text="horror tale"), "i1")
    assert explanation.position is None
    assert explanation.parts[P_IRRELEVANT] >= 0.5
    off = engine.settings.all_surfaces()["search"].model_copy(
        update={"relevance_filter": RelevanceFilterConfig(enabled=False)}
    )
    unfiltered = answer_queries(query, off, engine.state)[0]
    assert len(unfiltered.items) > len(filtered.items)
    assert CHECKED not in unfiltered.trace
    engine.close()


def test_an_exact_title_is_never_removed(shop: Path) -> None:
    engine = Engine.open(shop)
    settings = Workspace.open(shop).settings.all_surfaces()["search"]
    strictest = settings.model_copy(
        update={"relevance_filter": RelevanceFilterConfig(threshold=1e-6)}
    )
    query = engine.queries([Request("search", text="The comedy tale number 1")])
    result = answer_queries(query, strictest, engine.state)[0]
    assert engine.item_ids(result.items.item_nums) == ["i1"]
    assert result.items.fields[P_IRRELEVANT][0] >= 1e-6
    engine.close()


def test_items_with_all_words_follow_the_list_that_was_filtered(shop: Path) -> None:
    with Engine.open(shop) as engine:
        query = engine.queries([Request("search", text="tale")])[0]
        config = RelevanceFilterConfig(threshold=1.0)
        search = engine.settings.all_surfaces()["search"]
        surface = search.model_copy(update={"relevance_filter": config})
        whole = answer_queries([query], surface, engine.state)[0]
        is_even = np.arange(len(whole.items)) % 2 == 0
        half = replace(whole, items=whole.items.split(is_even)[0])
        found = Matches(query, surface, engine.state).append_to(half).items
    kept = len(half.items)
    assert 0 < kept < len(found)
    assert found.item_nums[:kept].tolist() == half.items.item_nums.tolist()
    assert np.isfinite(found.fields[P_IRRELEVANT]).tolist() == [True] * kept + [False] * (
        len(found) - kept
    )


def test_a_generation_says_of_every_surface_whether_it_is_filtered_and_why(shop: Path) -> None:
    generation = open_current(shop / "generations")
    decisions = read_filters(generation)
    assert set(RelevanceFacts.open(generation.folder / RELEVANCE).models) == {"home", "search"}
    assert {name for name, one in decisions.items() if one.on} == {"search", "home"}
    assert decisions["search"].reason == "on from 0.500: the settings name the threshold"
    assert "no labels of its lists" in decisions["digest"].reason
    assert decisions["cart"].reason.startswith("off: its lists cannot be labelled")
    _, told = invoke("status", "-w", str(shop))
    shown = {one["name"]: one["reason"] for one in told["in_force"]["decisions"]}
    assert shown[f"{NAME}digest"] == decisions["digest"].reason


def test_a_proven_threshold_filters_search_by_itself(shop: Path, tmp_path: Path) -> None:
    copy, reports = shutil.copytree(shop, tmp_path / "shop"), read_reports(shop)
    settings, proof = copy / "serendip.toml", reports["search"]["filter"]
    original = settings.read_text().replace(FILTER_TABLE, "")

    def decide(text: str) -> tuple[Decision, list[str]]:
        settings.write_text(text)
        decisions, _, used = decide_filters(JobContext.open(copy), reports)
        return decisions["search"], sorted(used)

    search, used = decide(original)
    assert 0 < proof["safe_threshold"] < 1
    assert search.on
    assert search.reason == f"on from {proof['safe_threshold']:.3f}: {PROVEN} for {GOAL}"
    assert used == ["home", "search"]
    search, used = decide(f"{original}\n[surfaces.search.relevance_filter]\nenabled = false\n")
    assert search.reason == "off: the settings switch it off"
    assert used == ["home"]
    # Other fields: the model cannot be used, and nobody asked for it by name.
    search, used = decide(original.replace('fields = ["title", "genre"]', 'fields = ["title"]'))
    assert search.reason.startswith("off: the model was trained on title, description, genre by")
    assert used == []
    del reports["search"]
    search, used = decide(original)
    assert search.reason == "off: there is no relevance model (`serendip judge distil`)"
    assert used == ["home"]


def test_a_rejected_threshold_is_served_nowhere_although_another_surface_has_the_model(
    shop: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shop, tmp_path / "shop")
    settings, report = copy / "serendip.toml", read_reports(shop)["search"]
    effect = {"ci95": {"lost": [0.1, 0.3], "wrong": [0.2, 0.4], "fall": [0.1, 0.4]}}
    reports = {"search": {**report, "filter": {"safe_threshold": 0.5, "safe": effect}}}
    own = '[surfaces.home.relevance_filter]\nlabels = "search"\nthreshold = 0.5\n'
    settings.write_text(settings.read_text().replace(FILTER_TABLE, f"\n{own}"))
    decisions, proven, _ = decide_filters(JobContext.open(copy), reports)
    assert [name for name, one in decisions.items() if one.on] == ["home"]
    assert decisions["search"].reason.startswith("off: it may hide 30% of the relevant items")
    assert "search" not in proven


def test_a_generation_keeps_the_thresholds_that_were_decided(shop: Path, tmp_path: Path) -> None:
    generation = open_current(shop / "generations")
    decided = open_state(generation.folder).relevance_thresholds["home"]
    copy = shutil.copytree(generation.folder, tmp_path / "generation")
    home = Workspace.open(shop).settings.all_surfaces()["home"].relevance_filter
    facts = RelevanceFacts.open(copy / RELEVANCE)
    assert facts.thresholds == {"home": decided}  # search names its own
    for changed, threshold in (({}, np.inf), ({"home": decided}, decided)):
        replace(facts, thresholds=changed).save(copy / RELEVANCE)
        assert RelevanceFilter(home).threshold(open_state(copy)) == threshold


def test_a_training_carries_the_models_on_and_a_rollback_brings_the_earlier_ones_back(
    shop: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(shop, tmp_path / "shop"))
    assert open_distilled(None) == {}
    code, result = invoke(*distil_home(copy, decides=False))
    assert (code, result["knows_users"]) == (0, False)
    assert open_current(copy / "generations").name == result["generation"]
    kept, changed = read_reports(copy)["search"], read_reports(copy)["home"]
    assert kept == read_reports(shop)["search"] and changed != read_reports(shop)["home"]
    train_workspace(JobContext.open(copy), rebuild=True)
    assert read_reports(copy) == {"search": kept, "home": changed}
    for _ in range(2):
        invoke("rollback", "-w", str(copy))
    assert read_reports(copy) == read_reports(shop)
    with Engine.open(copy) as engine, Engine.open(shop) as before:
        found = (one.state.relevance_models["home"].learned.names for one in (engine, before))
        assert len({*map(tuple, found)}) == 1


def test_labels_by_a_model_must_pass_the_gate(shop: Path) -> None:
    write_labels(shop / "model.csv", range(200, 260), LLM_COLUMNS, wrong=40)
    code, result = invoke(*distil(shop, "model.csv"))
    assert (code, result["gate"]["on"]) == (1, False)
    assert "generation" not in result


def test_gold_queries_are_never_trained_on(shop: Path) -> None:
    write_labels(shop / "same.csv", range(200, 260))
    with pytest.raises(DataError, match="labels of queries without gold labels: 0 queries"):
        invoke(*distil(shop, "same.csv"))


def test_a_model_of_other_fields_is_refused(shop: Path, tmp_path: Path) -> None:
    settings = (shop / "serendip.toml").read_text()
    shutil.copytree(shop, tmp_path / "shop")
    shorter = settings.replace('fields = ["title", "genre"]', 'fields = ["title"]')
    (tmp_path / "shop" / "serendip.toml").write_text(shorter)
    context = JobContext.open(tmp_path / "shop")
    with pytest.raises(
        DataError, match="trained on title, description, genre by hashing 1, not title,"
    ):
        train_workspace(context)
    assert [stage["name"] for stage in context.clock.as_dicts()] == ["snapshot"]  # then it ended


def test_labels_of_lists_filter_their_surface_by_what_its_user_chose(shop: Path) -> None:
    context = JobContext.open(shop)
    decisions, proven, _ = decide_filters(context, read_reports(shop))
    assert decisions["home"].on
    assert decisions["home"].reason == f"on from {proven['home']:.3f}: {PROVEN} for {GOAL}"
    assert decisions["digest"].reason == (
        "off: there are no labels of its lists (`serendip judge lists --surface digest`)"
    )
    manifest = read_reports(shop)["home"]
    assert manifest["auroc"] > 0.95 and manifest["user_gain"]["gain"] > 0.3
    engine = Engine.open(shop)
    (query,) = engine.queries([Request("home")])
    # Six westerns, and a comedy at last: the newest title alone would say comedy.
    for past, taste in (([2, 5, 8, 11, 14, 17, 4], 2), ([1, 4, 7, 10, 13, 16, 3], 1)):
        asked = replace(query, history=History.of_items(np.array(past, np.int32)))
        found = engine.run([asked], "home")[0].items
        tastes = [int(item[1:]) % 3 for item in engine.item_ids(found.item_nums[:10])]
        assert tastes.count(taste) >= 9
        assert not (found.fields[P_IRRELEVANT] >= proven["home"]).any()
    assert CHECKED not in engine.run([asked], "digest")[0].trace
    visitor = engine.run([query], "home")[0]
    assert visitor.trace[CHECKED] == 0 and len(visitor.items)
    engine.close()
    effect = manifest["filter"]["safe"]
    assert effect["irrelevant_after"] < effect["irrelevant_before"]


def test_lists_are_drawn_with_the_past_in_words_and_no_user(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn.csv"
    options = ("--surface", "home", "-w", str(shop), "--out", str(out), "--length", "12")
    _, drawn = invoke("judge", "lists", *options, "--users", "9")
    assert (drawn["lists"], drawn["pairs"]) == (9, 108)
    lists = read_lists(out)
    assert lists.surface == "home" and len(lists.requests) == 9
    for query, request in lists.requests.items():
        numbers = [int(item[1:]) for item in request.past]
        newest = numbers[-1]
        title = f'"The {TASTES[newest % 3]} tale number {newest}"' if newest else ""
        assert query.startswith(f"Somebody who chose {title}")
        assert query.count('"') == 2 * len(numbers) <= 2 * MOST_PAST
    users = {f"u{number}" for number in range(45)}
    assert not users & set(re.findall(r"\w+", out.read_text()))
    assert sorted(lists.places.values()) == sorted([*range(12)] * 9)
    with pytest.raises(UnsupportedError, match="cart answers requests that name items"):
        invoke("judge", "lists", "--surface", "cart", "-w", str(shop), "--out", str(out))
    with pytest.raises(DataError, match="no logged text has results"):
        empty = ("--surface", "search", "-w", str(shop), "--out", str(out))
        invoke("judge", "lists", *empty)
