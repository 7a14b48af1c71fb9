"""A generation that is worse on one slice is not published, unless by force."""

import csv
import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, import_shop
from stand import publish_with, write_worse_report

from serendip.data import FloatArray, Vocabulary
from serendip.data.artefact import VALUE_FILE
from serendip.data.splits import temporal
from serendip.engine.artefacts.generations import (
    current_name,
    open_current,
    open_earlier,
    open_in_force,
)
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state_parts import CONTENT, CatalogueContent, open_ranker, open_state
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, DataError, GateError
from serendip.evaluate.decision import DECISIONS, Decision
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.surface_quality.record import RECORD_FILE, read_record
from serendip.jobs.train.continuation import OlderFit
from serendip.jobs.train.engine_fit import RankerPart, fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.gates import check_budget, check_kept_items, require_passed
from serendip.jobs.train.parts.plan import Draft
from serendip.jobs.train.ranker.labels import INNER_FRACTION
from serendip.jobs.train.train import run_gates, train_workspace
from serendip.models.retriever.model import Retriever
from serendip.runtime.budget import Allowance, open_budget
from serendip.runtime.progress import TrainOptions
from serendip.runtime.versions import MANIFEST, compute_checksums, seal

NUM_USERS, TASTES, STEPS = 80, 4, 7
SETTINGS = """
[items]
path = "items.csv"

[events]
path = "events.csv"

[content]
name = "hashing"
fields = ["title"]

[models.retriever]
embedding_size = 8
search_size = 0
epochs = 1
max_len = 8

[ranker]
epochs = 1

[ranker.searches]
written = 0

[surfaces.shelf]
task = "home"
scorer = "content"
sources = {content = 20}
"""
WITHOUT_NEW_ITEMS = SETTINGS.replace("sources = {content = 20}", "sources = {item-knn = 20}")
"""Items without events are no candidates: only they are lost, all others move up."""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every user takes seven items of one taste, all users in step; the last one is a new item."""
    folder = tmp_path_factory.mktemp("crowd")
    words = ("horror ghost", "comedy laugh", "western rider", "space rocket")
    with (folder / "items.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title"])
        for taste in range(TASTES):
            for number in range(STEPS + 1):
                writer.writerow([f"i{taste}-{number}", f"{words[taste]} tale"])
            writer.writerow([f"new{taste}", f"{words[taste]} tale"])
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp", "action"])
        for step in range(STEPS):
            for user in range(NUM_USERS):
                taste = user % TASTES
                item = f"new{taste}" if step == STEPS - 1 else f"i{taste}-{(user + step) % 8}"
                time = 1_600_000_000 + 100_000 * step + user
                writer.writerow([f"u{user}", item, time, "click"])
    (folder / "serendip.toml").write_text(SETTINGS)
    import_files(Workspace.open(folder))
    return folder


def test_a_generation_is_compared_with_the_one_in_force(
    crowd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generations, settings = crowd / "generations", crowd / "serendip.toml"
    first = train_workspace(JobContext.open(crowd)).manifest[DECISIONS]["gates"]
    asked = ["answers a new visitor", "search finds titles", "shows similar items"]
    lists = "no rejected items shown as new"
    assert [gate["name"] for gate in first] == ["finite numbers", *asked, lists]

    # Equal generations: every difference is 0. The margin decides nothing that is learned.
    settings.write_text(SETTINGS + "\n[gate]\nmargin = 0.125\n")
    gates = train_workspace(JobContext.open(crowd)).manifest[DECISIONS]["gates"]
    again = {gate["name"]: gate for gate in gates}[
        "no surface or slice more than 12.5 % worse than gen-1"
    ]
    assert gates[-1]["name"] == "no measure of lists more than 15 % worse than gen-1"
    assert again["on"] and gates[-1]["on"]
    assert "(+0.0000, +0.0000 to +0.0000" in again["reason"]

    settings.write_text(WITHOUT_NEW_ITEMS)
    with pytest.raises(DataError, match="shelf, cold items: nDCG@10") as refused:
        train_workspace(JobContext.open(crowd))
    assert "more than 5 % worse than gen-2" in str(refused.value)
    assert "shelf, warm items" not in str(refused.value)
    assert "home" not in str(refused.value)
    assert current_name(generations) == "gen-2"

    with caplog.at_level(logging.WARNING, logger="serendip.jobs.train"):
        forced = train_workspace(JobContext.open(crowd), force=True)
    assert open_current(generations).name == forced.name == "gen-3"
    gate = forced.manifest[DECISIONS]["gates"][-1]
    assert not gate["on"]
    assert "gen-3 is published by force" in caplog.text
    assert gate["name"] in caplog.text and "shelf, cold items" in gate["reason"]


def check_after_import(shop: Path, count: int, least: float = 0.9) -> list[Decision]:
    """Cut the items file off after some rows, import it, and check what is left."""
    with (shop / "items.csv").open() as stream:
        rows = list(islice(stream, 1 + count))
    (shop / "items.csv").write_text("".join(rows))
    import_files(Workspace.open(shop), allow_loss=True)
    return check_items(shop, least)


def check_items(shop: Path, least: float = 0.9) -> list[Decision]:
    """Check the items that the database has now."""
    items = JobContext.open(shop).dataset.catalogue.vocabulary
    with Workspace.open(shop).open_store() as store:
        deleted = store.items_deleted_by_api()
    return check_kept_items(items, deleted, open_in_force(shop / "generations"), least)


def test_an_items_file_that_was_cut_off_is_not_published(stand: Path) -> None:
    (gate,) = check_after_import(stand, 50)  # of 60; ten may always go
    assert gate.on and gate.reason == "50 of its 60 items are still there"
    with pytest.raises(GateError, match=r"has the items of gen-1 \(49 of its 60 items") as refused:
        require_passed(check_after_import(stand, 49))
    for told in ("at least 90 % must be", "serendip import", "serendip train --force"):
        assert told in str(refused.value)
    (gate,) = check_after_import(stand, 48, least=0.8)
    assert gate.on
    assert check_after_import(stand, 1, least=0) == []


def test_items_that_were_deleted_one_by_one_stop_no_training(stand: Path) -> None:
    with Workspace.open(stand).open_store() as store:
        for number in range(20):
            assert store.delete_item(f"i{number}")
        assert store.erase_item("i20")
    (gate,) = check_items(stand)
    assert gate.on
    assert gate.reason == "39 of its 60 items are still there, 21 were deleted one by one"
    (gate,) = check_after_import(stand, 48)  # of the rows that it lost, none was deleted
    assert not gate.on


def cut_at(name: str, steps: int, done: float, continues: bool = False) -> Allowance:
    budget = open_budget(90)
    budget.from_now(0.5, name).cut(done, continues, steps)
    return budget


@pytest.mark.parametrize(
    ("name", "steps", "done", "continues", "passes"),
    [
        ("retriever (all-older)", 0, 0.0, False, False),
        ("retriever (all) similar", 99, 0.009, False, False),
        ("retriever (all-older)", 1, 0.25, False, False),  # a step of four is no training
        ("retriever (all-older)", 100, 0.001, False, True),  # of many epochs of a long log
        ("retriever (all)", 0, 0.0, True, True),  # it has what the earlier training learned
        ("ranker search order", 0, 0.0, False, True),  # a choice that was not made
    ],
)
def test_a_model_that_had_no_time_to_learn_is_not_published(
    name: str, steps: int, done: float, continues: bool, passes: bool
) -> None:
    budget = cut_at(name, steps, done, continues)
    (gate,) = check_budget(budget, {"retriever": object()})
    assert gate.on is passes
    assert "90 s" in gate.reason and f"{name} at {100 * done:.1f} %" in gate.reason
    assert "enough" not in gate.reason
    assert (f"%, step {steps}" in gate.reason) is (steps > 0)
    assert ("--budget" in gate.reason) is not passes


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()  # it may be a hard link
    path.write_bytes(content)


def change_manifest(generation: Path, **facts: object) -> None:
    """Give a generation other facts and right checksums."""
    manifest = json.loads((generation / MANIFEST).read_text())
    manifest |= {"files": compute_checksums(generation), **facts}
    replace_file(generation / MANIFEST, seal(manifest).encode())


def change_array(generation: Path, name: str, change: Callable[[FloatArray], FloatArray]) -> None:
    """Change an array and give the generation the right checksums."""
    path = generation / name
    array = change(np.load(path))
    path.unlink()
    np.save(path, array)
    change_manifest(generation)


def drop_last_row(array: FloatArray) -> FloatArray:
    return array[:-1]


def drop_first_column(array: FloatArray) -> FloatArray:
    return array[:, 1:]


COUNTS = "models/_numbers/0-counts.npy"


def flip_byte(generation: Path) -> None:
    content = bytearray((generation / COUNTS).read_bytes())
    content[-1] ^= 1
    replace_file(generation / COUNTS, bytes(content))


OPENED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (flip_byte, "counts.npy is altered"),
    "fewer rows than items": (
        lambda folder: change_array(folder, COUNTS, drop_last_row),
        "59 rows of counts for 60",
    ),
    "fewer vectors than items": (
        lambda folder: change_array(folder, "content/0-features-content-values.npy", drop_last_row),
        "59 rows of content for 60",
    ),
    "vectors of another size": (
        lambda folder: change_array(
            folder, "content/0-features-content-values.npy", lambda array: array[:, 1:]
        ),
        "values of a vector for",
    ),
    "codes of another length": (
        lambda folder: change_array(folder, "content/2-features-codes.npy", drop_first_column),
        "levels of codes for",
    ),
    "a model of other items": (
        lambda folder: take_away_an_item(folder, f"models/item-knn/{VALUE_FILE}"),
        "59 items of the model item-knn for 60",
    ),
}


def take_away_an_item(generation: Path, config: str) -> None:
    document = json.loads((generation / config).read_text())
    document["values"]["num_items"] -= 1
    replace_file(generation / config, json.dumps(document).encode())
    change_manifest(generation)


@pytest.mark.parametrize("kind", OPENED)
def test_a_bad_generation_is_refused_when_it_is_opened(shop: Path, kind: str) -> None:
    harm, told = OPENED[kind]
    harm(publish_with(shop).folder)
    with pytest.raises(ArtefactError, match=told):
        Engine.open(shop)
    workspace = Workspace.open(shop)
    earlier = open_earlier(workspace.generations)
    with closing(Engine.of_version(workspace, earlier)) as engine:
        assert engine.generation == "gen-1"
        assert engine.recommend(Request("home")).items


def draft_of(shop: Path) -> Draft:
    """The generation in force once more, before it is published."""
    current = open_current(shop / "generations")
    folder = current.folder
    content = CatalogueContent.open(folder / CONTENT)
    ranker = RankerPart(open_ranker(folder), record=read_record(folder / RECORD_FILE))
    return Draft(current.manifest, content, ranker, open_state(folder))


def lose_items(shop: Path) -> Draft:
    """The generation in force has 120 items, this one the first 60 of them."""
    draft, folder = draft_of(shop), publish_with(shop).folder
    for path in (folder / CONTENT / "items").iterdir():
        path.unlink()
    ids = [*draft.models.catalogue.vocabulary, *(f"gone{number}" for number in range(60))]
    Vocabulary(ids).save(folder / CONTENT / "items")
    change_manifest(folder)
    return draft


def lose_words(shop: Path) -> Draft:
    """Search goes on by meaning alone."""
    draft = draft_of(shop)
    searcher = draft.models.searcher.without_items(range(draft.models.num_items))
    return replace(draft, state=replace(draft.models, searcher=searcher))


def lose_retriever(shop: Path) -> Draft:
    draft = draft_of(shop)
    models = {name: model for name, model in draft.models.models.items() if name != "retriever"}
    return replace(draft, state=replace(draft.models, models=models), ranker=RankerPart())


def lose_quality(shop: Path) -> Draft:
    draft = draft_of(shop)
    quality = np.full(draft.models.num_items, np.inf, np.float32)
    return replace(draft, state=replace(draft.models, quality=quality))


def lose_to_popularity(shop: Path) -> Draft:
    write_worse_report(shop)
    return draft_of(shop)


DRAFTED: dict[str, tuple[Callable[[Path], Draft], str]] = {
    "half of the items": (
        lose_items,
        r"has the items of gen-2 \(60 of its 120 items are still there, at least 90 % must be: "
        r".*serendip import.*--force.*\[gate\] least_kept_items",
    ),
    "an empty word index": (
        lose_words,
        r"search finds titles \(0 of 5 titles of popular items find something\)",
    ),
    "a missing model": (lose_retriever, r"items for home; failed: retriever"),
    "a stage that fails": (lose_retriever, r"shows similar items \(.*; failed: .*retriever"),
    "a value that is infinite": (lose_quality, "finite numbers"),
    "worse than popularity": (lose_to_popularity, "not worse than popularity"),
}


@pytest.mark.parametrize("kind", DRAFTED)
def test_a_bad_generation_is_refused_before_it_is_published(shop: Path, kind: str) -> None:
    spoil, told = DRAFTED[kind]
    require_passed(run_gates(JobContext.open(shop), draft_of(shop)).decisions)
    draft = spoil(shop)
    with pytest.raises(GateError, match=told):
        require_passed(run_gates(JobContext.open(shop), draft).decisions)


def vectors_of(model: object) -> np.ndarray:
    assert isinstance(model, Retriever)
    return model.item_vectors


def test_a_fit_continues_from_the_fit_on_the_older_part(tmp_path: Path) -> None:
    settings = import_shop(tmp_path / "shop", num_users=20) / "serendip.toml"
    settings.write_text(settings.read_text() + WITHOUT_SEARCHES)
    context = JobContext.open(settings.parent)
    dataset, options = context.dataset, TrainOptions()
    fitter = Fitter(context, tmp_path)
    fitted, _ = fit_engine(fitter, dataset, "all", options)
    split, content = temporal(dataset, INNER_FRACTION), fitter.build_content(dataset, options)
    own = fitter.build_content(split.train, options, content.codebooks, content.fusion)
    past = OlderFit.of(fitter.fit_state(split.train, own, "past", options))
    continued = fitter.fit_state(dataset, content, "by-hand", options, past)
    nothing = fitter.fit_state(dataset, content, "nothing", options)
    names = ("retriever", "item-knn")
    (found, knn), (expected, expected_knn), (afresh, knn_afresh) = (
        (vectors_of(state.models[names[0]]), state.models[names[1]])
        for state in (fitted, continued, nothing)
    )
    assert np.array_equal(found, expected)
    assert not np.allclose(found, afresh, atol=1e-3)
    assert type(knn) is type(expected_knn) is type(knn_afresh)
    assert fitted.ranker is not None


def test_a_training_says_what_its_budget_cut_short(fresh: Path) -> None:
    context = JobContext.open(fresh, budget="0.001s")
    with pytest.raises(
        GateError, match=r"every model has learned \(a budget of 0.001 s .*retriever"
    ) as error:
        train_workspace(context)
    assert "--budget" in str(error.value) and "--force" in error.value.hint
    assert not list(context.workspace.generation_folder.glob("gen-*"))
    context = JobContext.open(fresh, budget="0.001s")
    budget = train_workspace(context, force=True).manifest["budget"]
    assert budget["seconds"] == 0.001
    cuts = {cut["name"]: cut["done"] for cut in budget["cut_short"]}
    assert cuts["retriever (all-older)"] == cuts["retriever (all)"] == 0.0
    assert 0 < cuts["ranker"] < 1


def test_the_budget_is_a_setting_and_the_option_goes_before_it(fresh: Path) -> None:
    settings = fresh / "serendip.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(f'{text}\n[train]\nbudget = "10m"\n', encoding="utf-8")
    assert JobContext.open(fresh).budget.seconds == 600
    assert JobContext.open(fresh, budget="2h").budget.seconds == 7_200
    with pytest.raises(ConfigError, match="is not a duration"):
        JobContext.open(fresh, budget="soon")
    settings.write_text(f'{text}\n[train]\nbudget = "soon"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.budget.*soon"):
        Workspace.open(fresh)
