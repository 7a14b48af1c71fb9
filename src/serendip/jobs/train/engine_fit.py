"""Fits an engine: on the older part of the data, which makes the ranker's rows, and on all of it.

The ranker is trained on out-of-time candidates: the other models are first fitted on the older
part of the data, and their candidates for requests of the newer part become the ranker's training
rows. Then the other models are fitted on all of it: those trained by gradients continue
(``OlderFit``), the others are fitted again.

The older part is fitted in a process beside this one if the executor has two, and by steps in this
one otherwise; it hands over files in both cases, and nothing depends on which of the two is faster:

=============================  ==================================
older part                     all
=============================  ==================================
content, codes, alignment      word index, what needs only words
(step 1) models                content, codes, alignment, models
(step 2) ranker                models that continue
(step 3)
=============================  ==================================

Of many items the older part is fitted first. It then hands over its state, too, and the command
trains the ranker on rows that are made from the state's files (``ranker_fit``).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data.dataset import Dataset
from serendip.data.dataset_folder import open_dataset, save_dataset
from serendip.data.events.repeats import Repeats
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.data.splits import temporal
from serendip.data.vocabulary import Vocabulary
from serendip.engine.feature_names import REPEAT_FEATURES, context_parts
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace, WorkspaceLocation
from serendip.jobs.context import JobContext
from serendip.jobs.train.fit import Fitter, PreparedData
from serendip.jobs.train.older_fit import OlderFit
from serendip.jobs.train.quality_recorder import QualityRecorder
from serendip.jobs.train.ranker.actions import INNER_FRACTION, has_ranker
from serendip.jobs.train.ranker.fit import (
    RANKER_FOLDER,
    STATE_FOLDER,
    RankerRequests,
    fit_ranker,
    fit_ranker_of_files,
)
from serendip.jobs.train.ranker.state_folder import save_state
from serendip.models.context_counts import AUTO
from serendip.models.ranker.model import Ranker
from serendip.runtime.budget import CutShort, TimeBudget
from serendip.runtime.job_status import FileProgress, JobStatus
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock, StageCost
from serendip.search.searcher import Searcher

MIN_EVENTS_BESIDE = 50_000
"""With fewer events a second process costs more than it saves."""

MOST_ITEMS_BESIDE = 50_000
"""Two fits at once need twice the memory. Of more items the older part is fitted first, in a
process of its own, whose memory is free before the rest is fitted. Where everything is computed
does not change what comes out, but this number does: models are rounded when they are written, and
the ranker of more items learns from what is read."""

PLAN = (
    ("align content", 13.0),
    ("train retriever", 37.0),
    ("train ranker", 14.0),
)
"""Long stages of the older part, with their CPU seconds on the demo's data; for the time left."""

_DATASET, _STATUS = "dataset", "status.json"
_IDS, _CODEBOOKS, _FUSION = "ids", "codebooks.safetensors", "fusion.safetensors"
_LEARNED = "learned"
_UNTIL, _PREVIOUS = "until.json", "previous"
_ATTEMPT, _TASK = "attempt-", "-task"

WordTask = Callable[[Searcher], None]


def do_nothing(searcher: Searcher) -> None:
    """The task of a fit that has nothing else to do with words."""


def older_folder(fitter: Fitter, name: str) -> Path:
    """Folder of what the older part of a fit hands over."""
    return fitter.scratch / f"{name}-older"


def fit_engine(
    fitter: Fitter,
    dataset: Dataset,
    name: str,
    options: TrainOptions,
    with_words: WordTask = do_nothing,
    beside: OtherProcess | None = None,
) -> EngineState:
    """Fit sources and ranker; see ``fit_both_parts``."""
    return fit_both_parts(fitter, dataset, name, options, with_words, beside)[0]


def fit_both_parts(
    fitter: Fitter,
    dataset: Dataset,
    name: str,
    options: TrainOptions,
    with_words: WordTask = do_nothing,
    beside: OtherProcess | None = None,
) -> tuple[EngineState, OlderFit | None]:
    """Fit sources and ranker, and tell what the older part left; None with too few data for two.

    Args:
        fitter: settings, encoders and clock.
        dataset: to fit on.
        name: folder below the fitter's ``scratch``, for files that the state reads.
        options: seed, progress, device.
        with_words: called with the word index, while the older part is being fitted.
        beside: where the older part is fitted if there are enough events; None = in this process.
    """
    fitter.encode_items(dataset, options)
    if not has_ranker(dataset):
        searcher = fitter.build_words(dataset, name)
        with_words(searcher)
        prepared = fitter.prepare(dataset, options)
        state = fitter.fit_models(prepared, searcher, name, options)
        return _with_chosen_context(state, fitter), None
    folder = older_folder(fitter, name)
    is_large = len(dataset.events) >= MIN_EVENTS_BESIDE
    place = beside if beside is not None and is_large else ThisProcess()
    with place.open(fitter, dataset, folder, options) as steps:
        files = _Files(folder, steps)
        if _is_first(dataset):
            files.wait_for_state()
            fit_ranker_of_files(fitter, dataset, folder, options)
            files.end()
        return _fit_all(fitter, dataset, name, options, with_words, files)


def _is_first(dataset: Dataset) -> bool:
    """Whether the older part is fitted before the rest, and its state handed over."""
    return dataset.num_items > MOST_ITEMS_BESIDE


def _fit_all(
    fitter: Fitter,
    dataset: Dataset,
    name: str,
    options: TrainOptions,
    with_words: WordTask,
    files: _Files,
) -> tuple[EngineState, OlderFit]:
    """Fit on all data, beside or between the steps of the older part."""
    searcher = fitter.build_words(dataset, name)
    with_words(searcher)
    older = files.older_fit()
    prepared = fitter.prepare(dataset, options, older)
    state = fitter.fit_models(prepared, searcher, name, options, older)
    return _with_chosen_context(files.with_ranker(state), fitter), older


def _with_chosen_context(state: EngineState, fitter: Fitter) -> EngineState:
    """The state; without a ranker, for which ``auto`` chooses parts of the context, with none."""
    if state.ranker is not None or fitter.settings.context.features != AUTO:
        return state
    nothing = state.context.with_parts(frozenset(), state.num_items)
    return replace(state, context=nothing)


def fit_older_part(
    fitter: Fitter,
    dataset: Dataset,
    folder: Path,
    options: TrainOptions,
    name: str = "",
    with_ranker: bool = True,
) -> Generator[None]:
    """Fit the older part of a dataset and the ranker, in three steps; see ``_Files``.

    Without the ranker the second step is the last one, and hands over the state, too. Built IDs and
    previous codes may depend on the newer part, so they are not used here. Texts are encoded in the
    first step alone, so that the cache grows in one order.

    Args:
        fitter: settings, encoders and clock.
        dataset: both parts.
        folder: where the results are written.
        options: seed, progress, device.
        name: of the fit, for people; empty = that of the folder.
        with_ranker: whether to train the ranker.
    """
    split = temporal(dataset, INNER_FRACTION)
    until = np.inf if split.cut is None else split.cut
    previous = fitter.previous
    if previous is not None and previous.until > until:
        previous = None
    older = replace(fitter, version=None, earlier=None, scratch=folder)
    prepared = older.prepare(split.train, options, previous)
    asked = RankerRequests.of(fitter, split, prepared.fusion)
    _save_prepared(prepared, until, folder)
    yield
    searcher = older.build_words(split.train, "words")
    past = older.fit_models(prepared, searcher, name or folder.name, options, previous)
    del prepared
    for model_name, arrays in OlderFit.of(past, until).learned.items():
        _save_learned(arrays, folder / _LEARNED / model_name)
    if not with_ranker:
        new, features = split.new_items, None
        if new:
            features = fitter.encode_new_items(new, past.codebooks, past.fusion)
        save_state(past, new, features, folder / STATE_FOLDER)
        yield
        return
    yield
    inner = fitter.append_new_items(past, split)
    del past  # its arrays are in ``inner``, with the new items
    fit_ranker(fitter, dataset, split, inner, asked, folder, options)
    yield


def _save_prepared(prepared: PreparedData, until: float, folder: Path) -> None:
    """Write what the fit on all data begins with."""
    save_arrays(folder / _IDS, prepared.dataset.catalogue.vocabulary.arrays())
    prepared.codebooks.save(folder / _CODEBOOKS)
    if prepared.fusion.blocks:
        prepared.fusion.save(folder / _FUSION)
    (folder / _UNTIL).write_text(json.dumps(until), encoding="utf-8")


def _save_learned(arrays: Mapping[str, NDArray[Any]], folder: Path) -> None:
    """Write named arrays; the names may have slashes."""
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array, allow_pickle=False)


def _open_learned(folder: Path) -> dict[str, NDArray[Any]]:
    """Map what ``_save_learned`` wrote, copied where it is changed; empty if there was nothing."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): np.load(path, mmap_mode="c")
        for path in sorted(folder.rglob("*.npy"))
    }


class _Files:
    """What the older part hands over: files of a folder that are complete after a step.

    Args:
        folder: where they are written.
        steps: yields after each step.
    """

    def __init__(self, folder: Path, steps: Iterator[None]) -> None:
        self._folder, self._steps, self._done = folder, steps, 0

    def wait_for_state(self) -> None:
        """Wait for the last step before the ranker, and for the end of a process that makes it."""
        self._wait(2)
        next(self._steps, None)

    def end(self) -> None:
        """Note that the ranker was trained, too, by whoever calls it."""
        self._done = 3

    def older_fit(self) -> OlderFit:
        """What was fitted; step 1, and step 2 when a model asks what it learned."""
        self._wait(1)
        fused = self._folder / _FUSION
        return OlderFit(
            Vocabulary.of_arrays(open_arrays(self._folder / _IDS)),
            Codebooks.open(self._folder / _CODEBOOKS),
            Fusion.open(fused) if fused.is_file() else TEXT_ONLY,
            _Learned(self),
            float(json.loads((self._folder / _UNTIL).read_text(encoding="utf-8"))),
        )

    def learned(self, model: str) -> dict[str, NDArray[Any]]:
        """Arrays from which a model continues; step 2."""
        self._wait(2)
        return _open_learned(self._folder / _LEARNED / model)

    def learning_models(self) -> list[str]:
        """Names of the models that can continue; step 2."""
        self._wait(2)
        return sorted(path.name for path in (self._folder / _LEARNED).glob("*"))

    def with_ranker(self, state: EngineState) -> EngineState:
        """The state with the ranker, without one if there was nothing to learn from; step 3.

        Where the older part tells otherwise whether items come again, or has other parts of the
        context, it decides: the ranker orders by what it has learned of them.
        """
        self._wait(3)
        folder = self._folder / RANKER_FOLDER
        if not folder.is_dir():
            return state
        learned = Ranker.open(folder).feature_names
        knows_repeats = not REPEAT_FEATURES.keys().isdisjoint(learned)
        if knows_repeats != state.repeats.is_on:
            never = Repeats.never(state.num_items) if knows_repeats else Repeats()
            state = replace(state, repeats=never)
        context = state.context.with_parts(context_parts(learned), state.num_items)
        state = replace(state, context=context)
        return state.with_ranker(Ranker.open(folder, state.feature_names))

    def _wait(self, step: int) -> None:
        while self._done < step:
            next(self._steps)
            self._done += 1


class _Learned(Mapping[str, Mapping[str, NDArray[Any]]]):
    """Name of a model -> arrays from which it continues, read when they are asked for."""

    def __init__(self, files: _Files) -> None:
        self._files = files

    def __getitem__(self, name: str) -> Mapping[str, NDArray[Any]]:
        return self._files.learned(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.learning_models())

    def __len__(self) -> int:
        return len(self._files.learning_models())


@dataclass(frozen=True, slots=True)
class OlderTask:
    """The older part as the task of another process.

    Args:
        workspace: of settings and caches.
        folder: has the dataset; each attempt writes its results into a new folder there.
        seed: root of all randomness.
        device: torch device of the content encoders.
        seconds: time that is left; infinite = unlimited.
        is_measured: whether to record the quality of the older part.
        with_ranker: whether to train the ranker.
    """

    workspace: WorkspaceLocation
    folder: str
    seed: int
    device: str
    seconds: float
    is_measured: bool
    with_ranker: bool = True

    def __str__(self) -> str:
        return "the fit on the older events"


@dataclass(frozen=True, slots=True)
class FitStep:
    """What a step cost, and where its files are.

    Args:
        folder: of the attempt; one that begins again writes into another folder, because what the
            first one wrote may be mapped.
        stages: that ended in it.
        cuts: trainings that ran out of time in it.
    """

    folder: str
    stages: tuple[StageCost, ...]
    cuts: tuple[CutShort, ...]


def fit_older_task(task: OlderTask) -> Generator[FitStep]:
    """``fit_older_part`` in this process, by files alone."""
    given = Path(task.folder)
    folder = Path(tempfile.mkdtemp(dir=given, prefix=_ATTEMPT))
    progress = FileProgress(given / _STATUS, PLAN)
    options = TrainOptions(task.seed, progress, device=task.device)
    context = JobContext.open_in_task(task.workspace, options, StageClock(progress=progress))
    budget, stages = TimeBudget(task.seconds), context.clock.stages
    previous = OlderFit.open(given / _PREVIOUS)
    on_older = QualityRecorder(context) if task.is_measured else None
    fitter = replace(
        Fitter.of(context, folder), budget=budget, previous=previous, on_older=on_older
    )
    with progress.step("older events"):
        dataset = open_dataset(given / _DATASET)
        name = given.name.removesuffix(_TASK)
        for _ in fit_older_part(fitter, dataset, folder, options, name, task.with_ranker):
            yield FitStep(str(folder), tuple(stages), tuple(budget.cuts))
            stages.clear()
            budget.cuts.clear()


class ThisProcess:
    """Fits the older part in this process, a step whenever one is needed."""

    def open(
        self, fitter: Fitter, dataset: Dataset, folder: Path, options: TrainOptions
    ) -> AbstractContextManager[Iterator[None]]:
        """Steps of the older part, until the context is left."""
        folder.mkdir(parents=True)
        with_ranker = not _is_first(dataset)
        return closing(fit_older_part(fitter, dataset, folder, options, "", with_ranker))


class OtherProcess:
    """Fits the older part in another process if the executor of the options has two.

    Args:
        workspace: of the fitter.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def open(
        self, fitter: Fitter, dataset: Dataset, folder: Path, options: TrainOptions
    ) -> AbstractContextManager[Iterator[None]]:
        """Steps of the older part, until the context is left."""
        if options.executor.workers == 1:
            return ThisProcess().open(fitter, dataset, folder, options)
        return self._open(fitter, dataset, folder, options)

    @contextmanager
    def _open(
        self, fitter: Fitter, dataset: Dataset, folder: Path, options: TrainOptions
    ) -> Iterator[Iterator[None]]:
        given = folder.with_name(f"{folder.name}{_TASK}")
        save_dataset(dataset, given / _DATASET)
        if fitter.previous is not None:  # of half precision already, so nothing is lost
            fitter.previous.save(given / _PREVIOUS)
        left = fitter.budget.allow("", 1.0).seconds
        task = OlderTask(
            WorkspaceLocation.of(self._workspace),
            str(given.absolute()),
            options.seed,
            options.device,
            left,
            fitter.on_older is not None,
            not _is_first(dataset),
        )
        with options.executor.stream(fit_older_task, task) as costs:
            yield _await_steps(costs, fitter, folder, given / _STATUS, options)


def _await_steps(
    costs: Iterator[FitStep], fitter: Fitter, folder: Path, status: Path, options: TrainOptions
) -> Iterator[None]:
    """Yield after each step of another process; its progress is shown while it is awaited.

    Args:
        costs: of the steps.
        fitter: whose clock and budget they are added to.
        folder: becomes a link to the folder of the attempt that made the last step.
        status: file of the progress.
        options: where it is shown.
    """

    def share() -> float | None:
        found = JobStatus.read(status)
        return found.share if found else None

    def note() -> str:
        found = JobStatus.read(status)
        return f"({found.text})" if found else ""

    while True:
        with options.progress.step("older events", share, note):
            cost = next(costs, None)
        if cost is None:
            return
        link = folder.with_name(f"{folder.name}-next")
        link.symlink_to(cost.folder)
        link.replace(folder)
        for stage in cost.stages:
            fitter.clock.add(stage)
        fitter.budget.cuts.extend(cost.cuts)
        yield
