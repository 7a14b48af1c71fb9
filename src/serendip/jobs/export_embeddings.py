"""``serendip embed``: vectors of items, users and queries in one Parquet file, for others to use.

The vectors are the retriever's, on the axes of the generation's space: the dot product of a user's
or a query's vector with an item's is the score that the retriever gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.files.columns import guess_mapping
from serendip.data.files.tables import open_table
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import shorten_history
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.jobs.train.carry_over import retriever_of, space_of
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.atomic_files import parquet_file, require_writable
from serendip.runtime.progress import Progress

Kind = Literal["items", "users", "queries"]

ID_COLUMN: Mapping[Kind, str] = {"items": "item_id", "users": "user_id", "queries": "query"}

BATCH = 512
"""Vectors that are made at once, and rows of a group in the file."""

_DOT_PRODUCT = (
    "The vector of a user or query times that of an item is the score of the retriever, for a user "
    "on the task home, for a query on the task search; higher is better, any scale. Vectors of "
    "other generations may be mixed in where `space` is the same string."
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is written: ids, and the vectors of a part of them, on the axes of the training."""

    ids: Sequence[str]
    vectors: Callable[[slice], FloatArray]


def embed(
    folder: Path, kind: Kind, out: Path | None, progress: Progress, file: Path | None = None
) -> dict[str, Any]:
    """Write an id and its ``vector`` for every item, every user with events, or every query.

    Args:
        folder: the workspace.
        kind: of what. Items: all that are not deleted, also those posted since the training.
        out: Parquet file, which appears whole or not at all; None = ``<kind>.parquet`` in the
            workspace's ``embeddings``.
        progress: follows the rows.
        file: queries, see ``read_queries``; None = those that the log of events has.

    Returns:
        ``kind``, ``rows``, ``out`` and what the file's metadata say: ``generation``, ``space``,
        ``space_version``, ``model``, ``dimensions``, ``parts`` (what the dimensions are, in order).

    Raises:
        NotTrainedError: nothing is published.
        ArtefactError: the generation was published before there were spaces of vectors.
        UnsupportedError: it has no retriever.
        DataError: there are no queries, or their file is wrong.
        ConfigError: ``out`` cannot be written; found before anything is computed.
        StorageError: it could be written before, and now cannot.
    """
    workspace = Workspace.open(folder)
    target = out or workspace.embeddings / f"{kind}.parquet"
    texts = _texts(workspace, file) if kind == "queries" else []
    with closing(Engine.open(folder)) as engine:
        rows = _rows(engine, kind, texts)
        space = space_of(workspace.generations / engine.generation)
        require_writable(target)
        facts = _facts(engine.generation, space)
        _write(target, ID_COLUMN[kind], rows, space, facts, progress)
    return {"kind": kind, "rows": len(rows.ids), **facts, "out": str(target)}


def read_queries(path: Path) -> list[str]:
    """Queries of a file, each once, in its order; blank ones are passed over.

    Args:
        path: text with one query a line (``.txt``), or a table (CSV, JSONL, Parquet) with a column
            ``query`` or one of its known names.

    Raises:
        DataError: it is missing, not readable or has no such column.
    """
    if not path.is_file():
        raise DataError(
            f"{path} does not exist.",
            "Give --file a .txt with one query a line, or a table with a column `query`.",
        )
    found = _lines(path) if path.suffix.lower() == ".txt" else _cells(path)
    return [text for text in dict.fromkeys(one.strip() for one in found) if text]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8: {error}.", "Save it as UTF-8.") from None


def _cells(path: Path) -> Iterator[str]:
    table = open_table(path)
    column = guess_mapping(table.columns, "events").get("query")
    if column is None:
        raise DataError(
            f"{path.name} has no column of queries; it has {', '.join(table.columns)}.",
            "Name one `query`, or give a .txt with one query a line.",
        )
    for (cell,) in table.rows([column]):
        yield cell if isinstance(cell, str) else " ".join(cell)
    for place, reason in table.broken:
        raise DataError(f"{path.name}, {place}: {reason}.")


def _texts(workspace: Workspace, file: Path | None) -> list[str]:
    if file is None:
        with closing(workspace.open_store()) as store:
            texts = store.queries(workspace.settings.actions.ignore)
        place = "the log of events"
    else:
        texts, place = read_queries(file), str(file)
    if not texts:
        raise DataError(f"{place} holds no queries.", "Give --file a .txt with one query a line.")
    return texts


def _rows(engine: Engine, kind: Kind, texts: Sequence[str]) -> _Rows:
    state = engine.state
    retriever = retriever_of(state)
    if kind == "items":
        numbers = np.flatnonzero(~state.hidden).astype(np.int32)
        ids = state.catalogue.vocabulary.ids_of(numbers)
        return _Rows(ids, lambda rows: retriever.vectors_of(numbers[rows]))

    def encode(requests: Iterable[Request]) -> FloatArray:
        # As served: of a long history, the model reads the part relevant to the request.
        queries = engine.queries(requests)
        return retriever.encode_queries([shorten_history(query, state) for query in queries])

    if kind == "queries":
        return _Rows(
            texts, lambda rows: encode(Request("search", text=text) for text in texts[rows])
        )
    users = [user for user, _ in engine.users(limit=2**31 - 1)]
    return _Rows(users, lambda rows: encode(Request("home", user) for user in users[rows]))


def _facts(generation: str, space: VectorSpace) -> dict[str, Any]:
    return {
        "generation": generation,
        "space": space.name,
        "space_version": space.version,
        "model": space.model,
        "dimensions": sum(space.parts.values()),
        "parts": dict(space.parts),
    }


def _write(
    out: Path,
    id_column: str,
    rows: _Rows,
    space: VectorSpace,
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    import pyarrow as pa

    size = facts["dimensions"]
    told = {name: one if isinstance(one, str) else json.dumps(one) for name, one in facts.items()}
    schema = pa.schema(
        [(id_column, pa.string()), ("vector", pa.list_(pa.float32(), size))],
        metadata={**told, "dot_product": _DOT_PRODUCT},
    )
    starts = range(0, len(rows.ids), BATCH)
    with parquet_file(out, schema) as file:
        for begin in progress.track(starts, f"{id_column} vectors", len(starts)):
            part = slice(begin, begin + BATCH)
            values = pa.array(space.turned(rows.vectors(part)).ravel(), pa.float32())
            vectors = pa.FixedSizeListArray.from_arrays(values, size)
            file.write_table(pa.table([pa.array(rows.ids[part], pa.string()), vectors], schema))
