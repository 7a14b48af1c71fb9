"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file.

Users are answered in tasks of the executor (``engine_tasks``). Who is erased meanwhile is not in
the file.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.items.attribute_test import parse_tests
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.translation import choose_language
from serendip.engine.request import Request
from serendip.engine.stages.exploration import PROPENSITY
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.exports.engine_tasks import (
    EngineLocation,
    active_users,
    map_tasks,
    open_engine,
)
from serendip.jobs.exports.export_record import ExportRecord
from serendip.jobs.exports.reason_wording import ShownReason, Wordings, word_reasons
from serendip.jobs.llm.job import LlmJob
from serendip.jobs.whole_answers import require_whole
from serendip.runtime.atomic_files import count_rows, open_parquet, require_writable
from serendip.runtime.progress import TrainOptions

BATCH = 128
"""Users whose candidates are scored together."""

USERS_PER_TASK = 32 * BATCH
"""A process opens the generation for each task, which costs as much as a hundred answers or so."""

REASON = "reason"
_COLUMNS = ("user_id", "rank", "item_id", "score")
_WORD_SCORES = ("title match", "bm25")
_NEEDED = {"query": "a text", "items": "an item"}


@dataclass(frozen=True, slots=True)
class ReasonOptions:
    """How the reasons of a file are told.

    Args:
        language: of the sentences, as in ``Request.language``.
        job: words them by the LLM of ``[llm]``; None = they are made by templates.
    """

    language: str = ""
    job: LlmJob | None = None


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """Users to answer.

    Args:
        location: of the engine that answers.
        request: of every user, but for the user.
        language: of the reasons, as in ``Request.language``; None = none are told.
        users: their ids.
    """

    location: EngineLocation
    request: Request
    language: str | None
    users: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the answers for {len(self.users):,} users"


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Rows of the file.

    Args:
        columns: by name.
        lengths: number of users by number of items.
        reasons: of the rows, if they are told.
    """

    columns: dict[str, list[Any]]
    lengths: Counter[int] = field(default_factory=Counter)
    reasons: list[ShownReason] = field(default_factory=list)

    @classmethod
    def empty(cls, *others: str) -> Self:
        """No rows yet, of the columns that every file has and some others."""
        return cls({name: [] for name in (*_COLUMNS, *others)})


def recommend_all(
    workspace: Path,
    request: Request,
    out: Path,
    options: TrainOptions,
    now: float | None = None,
    reasons: ReasonOptions | None = None,
) -> dict[str, Any]:
    """Write ``user_id, rank, item_id, score`` for every user with events.

    A surface with ``MinValueConfig`` may write fewer than ``k`` rows for a user, or none. If the
    surface has sponsored positions, the column ``sponsored`` marks their rows; if it explores, the
    column ``propensity`` has the probability of each explored item at its rank, null elsewhere.

    Args:
        workspace: folder of the workspace.
        request: of every user, but for the user; its surface needs nothing else, and ``k`` is the
            largest number of items per user.
        out: Parquet file, written atomically.
        options: progress of the users, and the executor that answers them.
        now: Unix seconds, the time of all requests; None = the present.
        reasons: adds the column ``reason``; None = no such column. A job that only estimates its
            cost writes no file.

    Returns:
        numbers of users and rows, number of users by number of items, the generation, and the
        report of the LLM if it words the reasons.

    Raises:
        DataError: ``k`` is less than 1, or a filter is no test of an attribute that items have.
        UnsupportedError: there is no such surface, it needs an item or a text, or a stage failed in
            the answer to a user.
        ConfigError: ``out`` cannot be written; checked before anything is computed.
        StorageError: ``out`` could not be written after the check.
    """
    if request.k < 1:
        raise DataError(f"k = {request.k} is less than 1.", "Give -k a number of items from 1 on.")
    require_writable(out)
    opened, at = Workspace.open(workspace), time.time() if now is None else now
    with closing(opened.open_store()) as store:
        export = ExportRecord(opened, store, out)
        with open_engine(opened, at) as (engine, location):
            users = active_users(engine)
            _require_user_only(engine, request.surface)
            parse_tests(request.filters, engine.state.catalogue)
            language = None if reasons is None else reasons.language
            task = AnswerTask(location, request, language)
            shown = _answer_all(task, users, options)
            facts: dict[str, Any] = {}
            if reasons is not None:
                context = JobContext.open(workspace, options)
                shown, facts = _word(shown, engine, context, reasons.job)
            if reasons is None or reasons.job is None or not reasons.job.estimate_only:
                empty = AnswerRows.empty(*(() if reasons is None else (REASON,)))
                lengths, rows = _write(shown, empty, out, export), count_rows(out)
            else:
                lengths, rows = Counter[int](), 0
    return {
        "users": len(users),
        "rows": rows,
        "users_by_items": {str(count): lengths[count] for count in sorted(lengths)},
        "generation": location.generation,
        "out": str(out),
        **facts,
    }


def _answer_all(
    task: AnswerTask, users: Sequence[str], options: TrainOptions
) -> Iterable[AnswerRows]:
    """Rows of all users, a part for each task; they are the same wherever the tasks run."""
    tasks = [
        replace(task, users=tuple(users[begin : begin + USERS_PER_TASK]))
        for begin in range(0, len(users), USERS_PER_TASK)
    ]
    parts = map_tasks(options.executor, answer_users, tasks)
    return options.progress.track(parts, f"{task.request.surface} for all users", len(tasks))


def answer_users(task: AnswerTask) -> AnswerRows:
    """Rows of the users of a task, in their order; also in a process of an executor.

    Raises:
        UnsupportedError: a stage failed in the answer to a user.
    """
    engine = task.location.open()
    rows = AnswerRows.empty()
    for begin in range(0, len(task.users), BATCH):
        part = task.users[begin : begin + BATCH]
        queries = engine.queries(replace(task.request, user_id=user) for user in part)
        results = engine.run(queries, task.request.surface)
        require_whole(results)
        for user, result in zip(part, results, strict=True):
            best = result.items.take(np.arange(min(task.request.k, len(result.items))))
            _add(rows, user, best, engine.item_ids(best.item_nums))
            if task.language is not None:
                rows.reasons.extend(_tell_reasons(result, best, engine, task.language))
    return rows


def _add(rows: AnswerRows, user: str, best: ItemList, item_ids: list[str]) -> None:
    """Add the list of a user."""
    columns = rows.columns
    rows.lengths[len(best)] += 1
    columns["user_id"] += [user] * len(best)
    columns["rank"] += list(range(1, len(best) + 1))
    columns["item_id"] += item_ids
    columns["score"] += best.scores.tolist()
    if SPONSORED in best.fields:
        columns.setdefault(SPONSORED, []).extend(best.fields[SPONSORED].tolist())
    if PROPENSITY in best.fields:
        drawn = best.fields[PROPENSITY].astype(np.float64).tolist()
        known = [None if math.isnan(chance) else chance for chance in drawn]
        columns.setdefault(PROPENSITY, []).extend(known)


def _tell_reasons(
    result: Result, best: ItemList, engine: Engine, language: str
) -> list[ShownReason]:
    """The reason for each item of a list, beside its title."""
    state, items = engine.state, best.item_nums
    influence = find_influence(result, state, best)
    explainer = Explainer(state, result.query, items, choose_language(language), influence)
    told = explainer.reasons(*(best.fields[name].tolist() for name in _WORD_SCORES))
    titles = map(state.catalogue.title, items.tolist())
    return [ShownReason(title, reason) for title, reason in zip(titles, told, strict=True)]


def _word(
    parts: Iterable[AnswerRows], engine: Engine, context: JobContext, job: LlmJob | None
) -> tuple[Iterable[AnswerRows], dict[str, Any]]:
    """The parts with the column of the reasons; the report of the LLM, if one words them."""
    if job is None:
        return _fill_reasons(parts, Wordings({}, {})), {}
    whole = list(parts)
    told = [shown for part in whole for shown in part.reasons]
    wordings = word_reasons(context, job, told, engine.state.catalogue)
    return _fill_reasons(whole, wordings), {"llm": wordings.report}


def _fill_reasons(parts: Iterable[AnswerRows], wordings: Wordings) -> Iterator[AnswerRows]:
    for part in parts:
        part.columns[REASON] = [
            wordings.sentences.get(shown, shown.reason.text) for shown in part.reasons
        ]
        yield part


def _require_user_only(engine: Engine, surface: str) -> None:
    needs = engine.needs(surface)
    if needs:
        raise UnsupportedError(
            f"--batch does not support the surface {surface!r}, which needs {_NEEDED[needs]}.",
            "Use a surface that needs only a user, such as --surface home.",
        )


def _write(
    parts: Iterable[AnswerRows], empty: AnswerRows, out: Path, export: ExportRecord
) -> Counter[int]:
    """Write rows as they come, a row group for each part; number of users by number of items."""
    import pyarrow as pa

    types = {
        "user_id": pa.string(),
        "rank": pa.int32(),
        "item_id": pa.string(),
        "score": pa.float32(),
        SPONSORED: pa.bool_(),
        PROPENSITY: pa.float64(),
        REASON: pa.string(),
    }
    lengths, left = Counter[int](), iter(parts)
    for first in left:
        lengths.update(first.lengths)
        if first.columns["rank"]:
            break
    else:
        first = empty
    schema = pa.schema([(name, types[name]) for name in first.columns])
    with open_parquet(out, schema, export.finish_users) as file:
        file.write_table(pa.table(first.columns, schema=schema))
        for part in left:
            lengths.update(part.lengths)
            if part.columns["rank"]:
                file.write_table(pa.table(part.columns, schema=schema))
    return lengths
