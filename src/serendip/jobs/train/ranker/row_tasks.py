"""Labels the candidates of many requests in tasks of an executor, from a state in files.

A task has some batches of requests, opens the state and writes all candidates with their features
into a folder of its own. Which of them become rows is drawn by the process of the training, batch
by batch in their order, so that the rows are the same bytes wherever they are made, and in whatever
order tasks end. A task needs the memory of one batch besides the mapped state; at most two folders
per worker wait to be read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.engine.config.settings import Settings
from serendip.engine.state import EngineState
from serendip.jobs.train.ranker.labelled_query import Batches, LabelledQuery
from serendip.jobs.train.ranker.rows import LabelledCandidates, label_candidates
from serendip.jobs.train.ranker.state_folder import open_state
from serendip.runtime.executor import Executor

BATCHES_PER_TASK = 64
"""Some ten seconds of work, several times what starting a process and opening a state takes."""

_ROWS = "rows-"


@dataclass(frozen=True, slots=True)
class CandidateTask:
    """Batches of requests whose candidates are labelled.

    Args:
        folder: of ``save_state``; each attempt writes into a new folder there.
        parts: of the context that the features have.
        settings: surfaces and the ranker's config; without places, whose passwords are not sent.
        batches: surface and requests.
        first: number of the first request.
    """

    folder: str
    parts: frozenset[str]
    settings: Settings
    batches: tuple[tuple[str, tuple[LabelledQuery, ...]], ...]
    first: int

    def __str__(self) -> str:
        return f"the ranker's rows from request {self.first:,} on"


@dataclass(frozen=True, slots=True)
class CandidateTasks:
    """Labels candidates by tasks.

    Args:
        folder: of ``save_state``, which all workers see.
        executor: that runs them.
    """

    folder: Path
    executor: Executor

    def label(
        self, batches: Batches, state: EngineState, settings: Settings, first: int
    ) -> Generator[LabelledCandidates]:
        """Candidates of each batch, whose arrays are there until the next one is asked for.

        Args:
            batches: surface and requests.
            state: that of the folder, whose context tells which features there are.
            settings: surfaces and the ranker's config.
            first: number of the first request.

        Raises:
            SerendipError: a task was killed.
        """
        ends = accumulate((len(labelled) for _, labelled in batches), initial=first)
        numbered = list(zip(ends, batches, strict=False))
        context = state.context
        parts = frozenset({*context.fields, *context.parts})
        tasks = [
            CandidateTask(
                str(self.folder),
                parts,
                settings.without_places(),
                tuple((surface, tuple(labelled)) for _, (surface, labelled) in part),
                part[0][0],
            )
            for part in _split(numbered)
        ]
        for path in self.executor.map(label_task, tasks):
            try:
                for batch in sorted(Path(path).iterdir()):
                    yield LabelledCandidates.of_arrays(open_arrays(batch))
            finally:
                shutil.rmtree(path)


def _split(
    numbered: Sequence[tuple[int, tuple[str, Sequence[LabelledQuery]]]],
) -> list[Sequence[tuple[int, tuple[str, Sequence[LabelledQuery]]]]]:
    starts = range(0, len(numbered), BATCHES_PER_TASK)
    return [numbered[begin : begin + BATCHES_PER_TASK] for begin in starts]


def label_task(task: CandidateTask) -> str:
    """Label the candidates of a task; returns the folder that has a folder for each batch."""
    state, first = _open_once(task.folder), task.first
    context = state.context.with_parts(task.parts, state.num_items)
    state = replace(state, context=context)
    folder = Path(tempfile.mkdtemp(dir=task.folder, prefix=_ROWS))
    for number, (surface, labelled) in enumerate(task.batches):
        found = label_candidates(labelled, surface, state, task.settings, first)
        save_arrays(folder / f"{number:06}", found.arrays())
        first += len(labelled)
    return str(folder)


@lru_cache(maxsize=1)
def _open_once(folder: str) -> EngineState:
    return open_state(Path(folder))
