"""Nobody who trains reads a row after the cut: change the future, and nothing learned changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import write_files

from serendip.data import Catalogue, Dataset, EventLog, History, Item, Query, Vocabulary
from serendip.data.events.event import EXCLUSIONS
from serendip.data.events.negative_log import NegativeLog
from serendip.data.splits import Split, temporal
from serendip.engine.stages.pipeline import run
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.files.events import read_events
from serendip.files.items import read_items
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.split import fit_past
from serendip.jobs.surface_quality.answers import rank
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions

CUT = 0.7


def load(folder: Path) -> tuple[Workspace, Dataset]:
    write_files(folder)
    workspace = Workspace.open(folder)
    workspace.create_store().close()
    catalogue = Catalogue(read_items(workspace.settings.items, folder))
    events = list(read_events(workspace.settings.events, folder))
    users = Vocabulary(dict.fromkeys(event.user_id for event in events))
    log = EventLog(
        users.numbers(event.user_id for event in events),
        catalogue.vocabulary.numbers(event.item_id for event in events),
        np.array([event.timestamp for event in events]),
        np.array([(event.value or 0) >= 4 for event in events]),
        np.array([event.value for event in events], dtype=np.float32),
    )
    return workspace, Dataset(catalogue, users, log)


def poisoned(dataset: Dataset) -> Dataset:
    """The same past; in the future everybody loves one new item and dislikes all others."""
    split = temporal(dataset, CUT)
    future = dataset.events.timestamps >= split.cut
    assert future.any()
    catalogue = dataset.catalogue.with_late([Item("poison", "The poison tale", "", {"genre": "x"})])
    items = dataset.events.items.copy()
    items[future] = catalogue.vocabulary.number("poison")
    liked = dataset.events.liked | future
    return replace(
        dataset,
        catalogue=catalogue,
        events=replace(dataset.events, items=items, liked=liked),
        negatives=NegativeLog(
            dataset.events.users[future],
            dataset.events.items[future],
            dataset.events.timestamps[future],
            np.ones(int(future.sum()), np.float32),
            np.full(int(future.sum()), EXCLUSIONS.index("everywhere"), np.int8),
            np.full(int(future.sum()), np.inf),
        ),
    )


def fit(workspace: Workspace, split: Split, folder: Path) -> EngineState:
    fitter = Fitter(JobContext.of(workspace), folder)
    return fit_engine(fitter, split.train, "past", TrainOptions(seed=3)).state


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[EngineState, EngineState, Workspace]:
    folder = tmp_path_factory.mktemp("leak")
    workspace, dataset = load(folder / "shop")
    splits = [temporal(dataset, CUT), temporal(poisoned(dataset), CUT)]
    assert splits[0].cut == splits[1].cut
    states = [fit(workspace, split, folder / str(row)) for row, split in enumerate(splits)]
    return states[0], states[1], workspace


def test_vocabulary_counts_codes_and_quality_know_nothing_of_the_future(pair) -> None:
    honest, other, _ = pair
    assert honest.catalogue.vocabulary == other.catalogue.vocabulary
    assert "poison" not in honest.catalogue.vocabulary
    for left, right in (
        (honest.counts, other.counts),
        (honest.quality, other.quality),
        (honest.features.codes, other.features.codes),
        (honest.codebooks.centroids, other.codebooks.centroids),
    ):
        np.testing.assert_array_equal(left, right)


def test_no_model_and_no_ranker_reads_the_future(pair) -> None:
    honest, other, workspace = pair
    history = History.of_items(np.array([0, 3, 6], np.int32))
    queries = [Query(), Query(history=history), Query(source_items=np.array([4], np.int32))]
    for name, model in honest.models.items():
        np.testing.assert_array_equal(
            model.score_all(queries), other.models[name].score_all(queries), err_msg=name
        )
    home = workspace.settings.all_surfaces()["home"]
    for left, right in zip(run(queries, home, honest), run(queries, home, other), strict=True):
        np.testing.assert_array_equal(left.items.item_nums, right.items.item_nums)
        np.testing.assert_array_equal(left.items.scores, right.items.scores)


def test_the_word_index_weighs_words_by_the_past_only(pair) -> None:
    honest, other, _ = pair
    for text in ("horror tale", "poison", "number 7"):
        left, right = (state.searcher.search(text, 20) for state in (honest, other))
        np.testing.assert_array_equal(left.item_nums, right.item_nums)
        np.testing.assert_array_equal(left.fields["bm25"], right.fields["bm25"])


def test_the_poison_would_be_seen_by_a_trainer_that_reads_everything(tmp_path: Path) -> None:
    workspace, dataset = load(tmp_path / "shop")
    late = replace(temporal(poisoned(dataset), CUT), train=poisoned(dataset))
    state = fit(workspace, late, tmp_path)
    assert int(state.counts.argmax()) == state.catalogue.vocabulary.number("poison")


def judged(folder: Path, poison: bool) -> tuple[dict[str, int], dict[tuple[str, str], list[str]]]:
    """Judge one cut of a stored shop; with poison, its future holds one item only.

    Returns:
        item -> its count, and (user, system) -> the first answer.
    """
    write_files(folder)
    workspace = Workspace.open(folder)
    items = [*read_items(workspace.settings.items, folder), Item("poison", "The poison tale")]
    events = list(read_events(workspace.settings.events, folder))
    cut = sorted(event.timestamp for event in events)[int(CUT * len(events))]
    if poison:
        events = [replace(e, item_id="poison") if e.timestamp >= cut else e for e in events]
    with workspace.create_store() as store:
        store.import_all(items, events)
    context = JobContext.open(folder)
    split = temporal(context.dataset, CUT)
    state, _ = fit_past(context, context.dataset, split, folder)
    targets, names = split.targets, state.catalogue.vocabulary.ids
    _, answers = rank(targets.queries(), workspace.settings.all_surfaces()["home"], state)
    # At its first target a user's whole history is the past.
    rows = {user: row for row, user in reversed([*enumerate(targets.users)])}
    first = {
        (user, system): [names[item] for item in lists[row].tolist() if item >= 0]
        for system, lists in answers.items()
        for user, row in rows.items()
    }
    counts = dict(zip(names, state.counts.tolist(), strict=True))
    return {name: count for name, count in counts.items() if count}, first


def test_what_a_report_judges_was_fitted_without_a_row_after_the_cut(tmp_path: Path) -> None:
    honest, other = (judged(tmp_path / str(poison), poison) for poison in (False, True))
    assert len(honest[1]) > 20
    assert honest == other
