"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file.

Users are answered in tasks of the executor (``export``). An LLM may word the sentences of reasons
before (``reason_task``); one without a wording stays as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serendip.data.item_list import ItemList
from serendip.data.items.attribute_test import parse_tests
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer, list_sentences
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.translation import choose_language
from serendip.engine.request import Request
from serendip.engine.stages.list_rules import PROPENSITY, SPONSORED
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import SurfaceConfig, find_surface
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.exports.export import MOST_USERS, EngineTask, map_rows, open_export
from serendip.jobs.llm.job import Writing
from serendip.jobs.whole_answers import require_whole
from serendip.llm.reason_task import WordedReason
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


def ask_wordings(sentences: Mapping[str, str]) -> Writing[WordedReason]:
    """Ask for other words for sentences, as ``list_sentences`` has them."""

    def keep(answers: Sequence[WordedReason | None], model: str) -> dict[str, Any]:
        wordings = {
            template: " ".join(answer.sentence.split())
            for template, answer in zip(sentences, answers, strict=True)
            if answer is not None
        }
        return {"sentences": len(sentences), "written": len(wordings), "wordings": wordings}

    questions = [{"sentence": sentence} for sentence in sentences.values()]
    return Writing(Task.of(WordedReason), questions, keep)


def recommend_all(
    workspace: Path,
    request: Request,
    out: Path,
    options: TrainOptions,
    now: float | None = None,
    ask: Callable[[Writing[WordedReason]], Mapping[str, Any]] | None = None,
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
        ask: has an LLM word the sentences of reasons (``write``); None = they stay as they are. If
            it only estimates the cost, no file is written.

    Returns:
        numbers of users and rows, number of users by number of items, the generation, and what
        ``ask`` says (``llm``).

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
        worded: Mapping[str, Any] = {}
        if ask is not None:
            sentences = list_sentences(engine.state, choose_language(request.language))
            worded = ask(ask_wordings(sentences))
            if "wordings" not in worded:
                return {"llm": worded}
        task = replace(task, about=(request, worded.get("wordings", {})))
        parts = map_rows(answer_users, task, users, USERS_PER_TASK, name, options)
        lengths = Counter[int]()

        def counted() -> Iterator[pa.Table]:
            for part in parts:
                lengths.update(Counter(part["user_id"].to_pylist()).values())
                yield part

        rows = write_tables(_schema(surface, request.reasons), counted())
        lengths[0] = len(users) - lengths.total()
    return {
        "users": len(users),
        "rows": rows,
        "users_by_items": {str(count): lengths[count] for count in sorted(+lengths)},
        "generation": task.generation,
        "out": str(out),
        "llm": worded,
    }


def answer_users(task: EngineTask) -> pa.Table:
    """Rows of the users of a task, in their order; also in a process of an executor.

    The task is about the request of each, but for the user, and the wordings of reasons.

    Raises:
        UnsupportedError: a stage failed in the answer to a user.
    """
    import pyarrow as pa

    engine, (request, wordings) = task.open(), task.about
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
                reasons = _tell_reasons(result, best, engine, request.language, wordings)
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


def _tell_reasons(
    result: Result, best: ItemList, engine: Engine, language: str, wordings: Mapping[str, str]
) -> list[str]:
    state, query, spoken = engine.state, result.query, choose_language(language)
    influence = find_influence(result, state, best)
    explainer = Explainer(state, query, best.item_nums, spoken, influence, wordings=wordings)
    told = explainer.reasons(*(best.fields[name].tolist() for name in _WORD_SCORES))
    return ["" if one is None else one.text for one in told]


def _schema(surface: SurfaceConfig, has_reasons: bool) -> pa.Schema:
    import pyarrow as pa

    explores = surface.exploration is not None and surface.exploration.share > 0
    is_there = {SPONSORED: surface.sponsored is not None, PROPENSITY: explores, REASON: has_reasons}
    return pa.schema([(name, kind) for name, kind in _TYPES.items() if is_there.get(name, True)])
