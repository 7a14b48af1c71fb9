"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file.

Users are answered in tasks of the executor (``engine_tasks``). An LLM may word the sentences of the
reasons (``reason_task``): it is told no names and no numbers. A sentence without a wording stays.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.items.attribute_test import parse_tests
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.translation import choose_language
from serendip.engine.request import Request
from serendip.engine.stages.list_rules import PROPENSITY, SPONSORED
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.exports.engine_tasks import MOST_USERS, EngineTask, map_rows, open_export
from serendip.jobs.llm.job import LlmJob, Writing, write
from serendip.jobs.whole_answers import require_whole
from serendip.llm.reason_task import WordedReason, fill_reason, mask_reason
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


def ask_wordings(templates: Iterable[str], wordings: dict[str, str]) -> Writing[WordedReason]:
    """Ask for a wording of every different sentence; ``wordings`` gets those that are accepted."""
    asked = list(dict.fromkeys(filter(None, templates)))

    def keep(answers: Sequence[WordedReason | None], model: str) -> dict[str, Any]:
        for template, answer in zip(asked, answers, strict=True):
            if answer is not None:
                wordings[template] = " ".join(answer.sentence.split())
        return {"reasons": len(asked), "worded": len(wordings), "wordings": wordings}

    return Writing(Task.of(WordedReason), [{"sentence": template} for template in asked], keep)


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
    with open_export(opened, out, now, has_users=True) as (task, write_tables):
        engine = task.open()
        users = [user for user, _ in engine.users(MOST_USERS)]
        surface = find_surface(opened.settings.all_surfaces(), request.surface)
        if surface.needs:
            raise UnsupportedError(
                f"--batch does not support the surface {request.surface!r}, which needs "
                f"{_NEEDED[surface.needs]}.",
                "Use a surface that needs only a user, such as --surface home.",
            )
        parse_tests(request.filters, engine.state.catalogue)
        name = f"{request.surface} for all users"
        task = replace(task, about=request)
        parts = map_rows(answer_users, task, users, USERS_PER_TASK, name, options)
        wordings, facts = dict[str, str](), dict[str, Any]()
        if job is not None:
            parts = list(parts)
            templates = (text for part in parts for text in part[REASON].to_pylist())
            writing = ask_wordings((text for text, _ in map(json.loads, templates)), wordings)
            facts = {"llm": write(JobContext.of(opened, options), writing, job)}
        lengths, rows = Counter[int](), 0
        if job is None or not job.estimate_only:
            finished = (_finish(part, wordings, lengths) for part in parts)
            rows = write_tables(_schema(surface, request.reasons), finished)
            lengths[0] = len(users) - lengths.total()
    return {
        "users": len(users),
        "rows": rows,
        "users_by_items": {str(count): lengths[count] for count in sorted(+lengths)},
        "generation": task.generation,
        "out": str(out),
        **facts,
    }


def answer_users(task: EngineTask) -> pa.Table:
    """Rows of the users of a task, in their order; also in a process of an executor.

    The task is about the request of each, but for the user. A reason is a template with what it
    stands for, as JSON.

    Raises:
        UnsupportedError: a stage failed in the answer to a user.
    """
    import pyarrow as pa

    engine, request = task.open(), task.about
    columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
    for begin in range(0, len(task.ids), BATCH):
        part = task.ids[begin : begin + BATCH]
        queries = engine.queries(replace(request, user_id=user) for user in part)
        results = engine.run(queries, request.surface)
        require_whole(results)
        for user, result in zip(part, results, strict=True):
            best = result.items.take(np.arange(min(request.k, len(result.items))))
            count, fields = len(best), best.fields
            reasons: list[Any] = [None] * count
            if request.reasons:
                reasons = _tell_reasons(result, best, engine, request.language)
            drawn = fields.get(PROPENSITY, np.full(count, np.nan)).astype(np.float64)
            row = {
                "user_id": [user] * count,
                "rank": range(1, count + 1),
                "item_id": engine.item_ids(best.item_nums),
                "score": best.scores.tolist(),
                SPONSORED: fields.get(SPONSORED, np.zeros(count, np.bool_)).tolist(),
                PROPENSITY: [None if math.isnan(chance) else chance for chance in drawn.tolist()],
                REASON: reasons,
            }
            for name, values in row.items():
                columns[name].extend(values)
    return pa.table(columns, pa.schema(list(_TYPES.items())))


def _tell_reasons(result: Result, best: ItemList, engine: Engine, language: str) -> list[str]:
    state, items = engine.state, best.item_nums
    influence = find_influence(result, state, best)
    explainer = Explainer(state, result.query, items, choose_language(language), influence)
    told = explainer.reasons(*(best.fields[name].tolist() for name in _WORD_SCORES))
    return [json.dumps(mask_reason(reason.text, reason.names)) for reason in told]


def _finish(part: pa.Table, wordings: Mapping[str, str], lengths: Counter[int]) -> pa.Table:
    """The part with whole sentences as reasons; counts the users by their number of rows."""
    import pyarrow as pa

    lengths.update(Counter(part["user_id"].to_pylist()).values())
    masked = (json.loads(text) if text else ("", ()) for text in part[REASON].to_pylist())
    told = [fill_reason(wordings.get(text, text), names) for text, names in masked]
    place = part.column_names.index(REASON)
    return part.set_column(place, REASON, pa.array(told, "string"))


def _schema(surface: SurfaceConfig, has_reasons: bool) -> pa.Schema:
    import pyarrow as pa

    explores = surface.exploration is not None and surface.exploration.share > 0
    is_there = {SPONSORED: surface.sponsored is not None, PROPENSITY: explores, REASON: has_reasons}
    return pa.schema([(name, kind) for name, kind in _TYPES.items() if is_there.get(name, True)])
