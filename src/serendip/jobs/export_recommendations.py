"""``serendip recommend --batch``: writes recommendations for all users to a Parquet file."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.item_list import ItemList
from serendip.engine.engine import Engine
from serendip.engine.explain import Explainer
from serendip.engine.influence import find_influence
from serendip.engine.request import Request
from serendip.engine.stages.exploration import PROPENSITY
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sponsored import SPONSORED
from serendip.engine.wording import choose_language
from serendip.errors import DataError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.llm_job import LlmJob
from serendip.jobs.reason_wording import ShownReason, Wordings, word_reasons
from serendip.runtime.atomic_files import open_parquet, require_writable
from serendip.runtime.progress import Progress, TrainOptions

BATCH = 128
REASON = "reason"
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


def recommend_all(
    workspace: Path,
    surface: str,
    k: int,
    out: Path,
    progress: Progress,
    country: str = "",
    device: str = "",
    reasons: ReasonOptions | None = None,
) -> dict[str, Any]:
    """Write ``user_id, rank, item_id, score`` for every user with events.

    A surface with ``MinValueConfig`` may write fewer than ``k`` rows for a user, or none. If the
    surface has sponsored positions, the column ``sponsored`` marks their rows; if it explores, the
    column ``propensity`` has the probability of each explored item at its rank, null elsewhere.

    Args:
        workspace: folder of the workspace.
        surface: that needs only a user.
        k: largest number of items per user, at least 1.
        out: Parquet file, written atomically.
        progress: of the users.
        country: of all requests; empty = that of each user.
        device: of all requests; empty = unknown.
        reasons: adds the column ``reason``; None = no such column. A job that only estimates its
            cost writes no file.

    Returns:
        numbers of users and rows, number of users by number of items, the generation, and the
        report of the LLM if it words the reasons.

    Raises:
        DataError: ``k`` is less than 1.
        UnsupportedError: there is no such surface, or it needs an item or a text.
        ConfigError: ``out`` cannot be written; checked before anything is computed.
        StorageError: ``out`` could not be written after the check.
    """
    if k < 1:
        raise DataError(f"k = {k} is less than 1.", "Give -k a number of items from 1 on.")
    require_writable(out)
    engine = Engine.open(workspace)
    try:
        _require_user_only(engine, surface)
        rows = _Rows()
        users = [user for user, _ in engine.users(limit=2**31 - 1)]
        starts = range(0, len(users), BATCH)
        for begin in progress.track(starts, f"{surface} for all users", len(starts)):
            part = users[begin : begin + BATCH]
            queries = engine.queries(
                Request(surface, user, country=country, device=device) for user in part
            )
            for user, result in zip(part, engine.run(queries, surface), strict=True):
                best = result.items.take(np.arange(min(k, len(result.items))))
                rows.add(user, best, engine.item_ids(best.item_nums))
                if reasons is not None:
                    rows.reasons += _tell_reasons(result, best, engine, reasons.language)
        facts = _word(rows, engine, workspace, reasons, progress)
        if reasons is None or reasons.job is None or not reasons.job.estimate_only:
            _write(rows.columns, out)
        return {
            "users": len(users),
            "rows": len(rows.columns["rank"]),
            "users_by_items": {str(count): rows.lengths[count] for count in sorted(rows.lengths)},
            "generation": engine.generation,
            "out": str(out),
            **facts,
        }
    finally:
        engine.close()


class _Rows:
    """Columns of the file, and number of users by length of their list."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("user_id", "rank", "item_id", "score")
        }
        self.lengths: Counter[int] = Counter()
        self.reasons: list[ShownReason] = []

    def add(self, user: str, best: ItemList, item_ids: list[str]) -> None:
        """Add the list of a user."""
        self.lengths[len(best)] += 1
        self.columns["user_id"] += [user] * len(best)
        self.columns["rank"] += list(range(1, len(best) + 1))
        self.columns["item_id"] += item_ids
        self.columns["score"] += best.scores.tolist()
        if SPONSORED in best.fields:
            self.columns.setdefault(SPONSORED, []).extend(best.fields[SPONSORED].tolist())
        if PROPENSITY in best.fields:
            drawn = best.fields[PROPENSITY].astype(np.float64).tolist()
            known = [None if math.isnan(chance) else chance for chance in drawn]
            self.columns.setdefault(PROPENSITY, []).extend(known)


def _tell_reasons(
    result: Result, best: ItemList, engine: Engine, language: str
) -> list[ShownReason]:
    """The reason for each item of a list, beside its title."""
    state, items = engine.state, best.item_nums
    influence = find_influence(result.query, state, best)
    explainer = Explainer(state, result.query, items, choose_language(language), influence)
    told = explainer.named_reasons(*(best.fields[name].tolist() for name in _WORD_SCORES))
    titles = map(state.catalogue.title, items.tolist())
    return [ShownReason(title, reason) for title, reason in zip(titles, told, strict=True)]


def _word(
    rows: _Rows,
    engine: Engine,
    workspace: Path,
    reasons: ReasonOptions | None,
    progress: Progress,
) -> dict[str, Any]:
    """Fill the column of the reasons; the report of the LLM, if one words them."""
    if reasons is None:
        return {}
    wordings = Wordings({}, {})
    if reasons.job is not None:
        context = JobContext.open(workspace, TrainOptions(progress=progress))
        wordings = word_reasons(context, reasons.job, rows.reasons, engine.state.catalogue)
    rows.columns[REASON] = [
        wordings.sentences.get(shown, shown.reason.text) for shown in rows.reasons
    ]
    return {"llm": wordings.report} if reasons.job is not None else {}


def _require_user_only(engine: Engine, surface: str) -> None:
    needs = engine.needs(surface)
    if needs:
        raise UnsupportedError(
            f"--batch does not support the surface {surface!r}, which needs {_NEEDED[needs]}.",
            "Use a surface that needs only a user, such as --surface home.",
        )


def _write(columns: dict[str, list[Any]], out: Path) -> None:
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
    schema = pa.schema([(name, types[name]) for name in columns])
    with open_parquet(out, schema) as file:
        file.write_table(pa.table(columns, schema=schema))
