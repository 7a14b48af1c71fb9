"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file.

Users are answered in tasks of the executor (``engine_tasks``). An LLM may word the reasons. It is
given the title of the item, the sentence and what the sentence names, each combination once, and
never a user. A wording that lacks a name or names anything else is dropped: the sentence stays.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.items.attribute_test import parse_tests
from serendip.data.items.catalogue import Catalogue
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer, Reason
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.translation import choose_language
from serendip.engine.request import Request
from serendip.engine.stages.exploration import PROPENSITY
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.exports.engine_tasks import EngineTask, open_export
from serendip.jobs.llm.job import LlmJob, Question, Writing, write
from serendip.jobs.whole_answers import require_whole
from serendip.llm.reason_task import NamedThings, WordedReason
from serendip.llm.tasks import Task
from serendip.runtime.atomic_files import require_writable
from serendip.runtime.progress import TrainOptions

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 128
"""Users whose candidates are scored together."""

USERS_PER_TASK = 32 * BATCH
"""A process opens the generation for each task, which costs as much as a hundred answers or so."""

REASON = "reason"
_TYPES = {
    "user_id": "string",
    "rank": "int32",
    "item_id": "string",
    "score": "float32",
    SPONSORED: "bool",
    PROPENSITY: "float64",
    REASON: "string",
}
_WORD_SCORES = ("title match", "bm25")
_NEEDED = {"query": "a text", "items": "an item"}


class ShownReason(NamedTuple):
    """A reason beside the title of the item that it is given for."""

    title: str
    reason: Reason


@dataclass(frozen=True, eq=False)
class ReasonWriting(Writing[WordedReason]):
    """Asks once for a wording of every different reason, which must not add values or titles of the
    catalogue.

    A reason without a wording keeps its sentence.
    """

    shown: Sequence[ShownReason]
    catalogue: Catalogue
    sentences: dict[ShownReason, str] = field(default_factory=dict)

    task = Task.of(WordedReason)

    @cached_property
    def asked(self) -> list[ShownReason]:
        """The different reasons."""
        return [one for one in dict.fromkeys(self.shown) if one.reason.text]

    def questions(self) -> list[Question]:
        """One about each."""
        return [
            {"item": title, "reason": reason.text, "names": list(reason.names)}
            for title, reason in self.asked
        ]

    def keep(self, answers: Sequence[WordedReason | None], model: str) -> dict[str, Any]:
        """Keep the sentences that name nothing else; the task has checked their kind."""
        values = {word for row in range(len(self.catalogue)) for word in self.catalogue.words(row)}
        names = NamedThings.of(values, (item.title for item in self.catalogue.items))
        dropped: Counter[str] = Counter()
        for one, data, answer in zip(self.asked, self.questions(), answers, strict=True):
            if answer is None:
                dropped["no answer"] += 1
            elif next(names.others(answer.sentence, data), ""):
                dropped["names another thing of the catalogue"] += 1
            else:
                self.sentences[one] = " ".join(answer.sentence.split())
        worded = len(self.sentences)
        return {"reasons": len(self.asked), "worded": worded, "dropped": dict(dropped)}


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Rows of the file: columns by name, and the reasons beside them, if they are told."""

    columns: dict[str, list[Any]]
    reasons: list[ShownReason] = field(default_factory=list)


def recommend_all(
    workspace: Path,
    request: Request,
    out: Path,
    options: TrainOptions,
    now: float | None = None,
    job: LlmJob | None = None,
) -> dict[str, Any]:
    """Write ``user_id, rank, item_id, score`` for every user with events.

    A surface with ``MinValueConfig`` may write fewer than ``k`` rows for a user, or none. If the
    surface has sponsored positions, the column ``sponsored`` marks their rows; if it explores, the
    column ``propensity`` has the probability of each explored item at its rank, null elsewhere.

    Args:
        workspace: folder of the workspace.
        request: of every user, but for the user; its surface needs nothing else, and ``k`` is the
            largest number of items per user. With ``reasons`` there is a column ``reason``.
        out: Parquet file, written atomically.
        options: progress of the users, and the executor that answers them.
        now: Unix seconds, the time of all requests; None = the present.
        job: words the reasons by the LLM of ``[llm]``; None = they are made by templates. One that
            only estimates its cost writes no file.

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
    opened = Workspace.open(workspace)
    with open_export(opened, out, now, has_users=True) as export:
        users, catalogue = export.active_users(), export.engine.state.catalogue
        surface = find_surface(opened.settings.all_surfaces(), request.surface)
        if surface.needs:
            raise UnsupportedError(
                f"--batch does not support the surface {request.surface!r}, which needs "
                f"{_NEEDED[surface.needs]}.",
                "Use a surface that needs only a user, such as --surface home.",
            )
        parse_tests(request.filters, catalogue)
        name = f"{request.surface} for all users"
        parts = export.map(answer_users, request, users, USERS_PER_TASK, name, options)
        wordings, facts = dict[ShownReason, str](), dict[str, Any]()
        if job is not None:
            parts = list(parts)
            told = [shown for part in parts for shown in part.reasons]
            writing = ReasonWriting(told, catalogue, wordings)
            facts = {"llm": write(JobContext.of(opened, options), writing, job)}
        lengths, rows = Counter[int](), 0
        if job is None or not job.estimate_only:
            schema = _schema(surface, request.reasons)
            rows = export.write(schema, _tables(schema, parts, wordings, lengths))
            lengths[0] = len(users) - lengths.total()
    return {
        "users": len(users),
        "rows": rows,
        "users_by_items": {str(count): lengths[count] for count in sorted(+lengths)},
        "generation": export.location.generation,
        "out": str(out),
        **facts,
    }


def answer_users(task: EngineTask) -> AnswerRows:
    """Rows of the users of a task, in their order; also in a process of an executor.

    The task is about the request of each, but for the user.

    Raises:
        UnsupportedError: a stage failed in the answer to a user.
    """
    engine, request = task.location.open(), task.about
    rows = AnswerRows({name: [] for name in _TYPES if name != REASON})
    for begin in range(0, len(task.ids), BATCH):
        part = task.ids[begin : begin + BATCH]
        queries = engine.queries(replace(request, user_id=user) for user in part)
        results = engine.run(queries, request.surface)
        require_whole(results)
        for user, result in zip(part, results, strict=True):
            best = result.items.take(np.arange(min(request.k, len(result.items))))
            _add(rows, user, best, engine.item_ids(best.item_nums))
            if request.reasons:
                rows.reasons.extend(_tell_reasons(result, best, engine, request.language))
    return rows


def _add(rows: AnswerRows, user: str, best: ItemList, item_ids: list[str]) -> None:
    columns, count = rows.columns, len(best)
    columns["user_id"] += [user] * count
    columns["rank"] += list(range(1, count + 1))
    columns["item_id"] += item_ids
    columns["score"] += best.scores.tolist()
    columns[SPONSORED] += best.fields.get(SPONSORED, np.zeros(count, np.bool_)).tolist()
    drawn = best.fields.get(PROPENSITY, np.full(count, np.nan)).astype(np.float64).tolist()
    columns[PROPENSITY] += [None if math.isnan(chance) else chance for chance in drawn]


def _tell_reasons(
    result: Result, best: ItemList, engine: Engine, language: str
) -> list[ShownReason]:
    state, items = engine.state, best.item_nums
    influence = find_influence(result, state, best)
    explainer = Explainer(state, result.query, items, choose_language(language), influence)
    told = explainer.reasons(*(best.fields[name].tolist() for name in _WORD_SCORES))
    titles = map(state.catalogue.title, items.tolist())
    return [ShownReason(title, reason) for title, reason in zip(titles, told, strict=True)]


def _schema(surface: SurfaceConfig, has_reasons: bool) -> pa.Schema:
    import pyarrow as pa

    explores = surface.exploration is not None and surface.exploration.share > 0
    is_there = {SPONSORED: surface.sponsored is not None, PROPENSITY: explores, REASON: has_reasons}
    return pa.schema([(name, kind) for name, kind in _TYPES.items() if is_there.get(name, True)])


def _tables(
    schema: pa.Schema,
    parts: Iterable[AnswerRows],
    wordings: Mapping[ShownReason, str],
    lengths: Counter[int],
) -> Iterator[pa.Table]:
    import pyarrow as pa

    for part in parts:
        lengths.update(Counter(part.columns["user_id"]).values())
        told = [wordings.get(shown, shown.reason.text) for shown in part.reasons]
        columns = {**part.columns, REASON: told}
        if part.columns["rank"]:
            yield pa.table({name: columns[name] for name in schema.names}, schema=schema)
