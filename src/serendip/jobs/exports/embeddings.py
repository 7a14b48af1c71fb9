"""``serendip embed``: exports vectors of items, users or queries to a Parquet file.

They are the retriever's vectors in the vector space of the generation: the dot product of a user's
or query's vector with an item's vector is the retriever's score. Users also have what a vector
leaves out: their activity and the attribute values they prefer (``data.users.profile``).

Users and queries are encoded in tasks of the executor (``export``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from serendip.data.users.profile import ACTIVITY, PreferenceTable, measure_activity
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import shorten_history
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.jobs.exports.export import MOST_USERS, EngineTask, map_rows, open_export
from serendip.jobs.train.space import open_space, require_retriever
from serendip.runtime.atomic_files import require_writable
from serendip.runtime.executor import IN_PROCESS
from serendip.runtime.progress import TrainOptions

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["items", "users", "queries"]

ID_COLUMN: Mapping[Kind, str] = {"items": "item_id", "users": "user_id", "queries": "query"}

BATCH = 512
"""Number of vectors that are computed at once, and of rows per row group of the file."""

ROWS_PER_TASK = 16 * BATCH
"""A process opens the generation for each task, which costs as much as a thousand vectors or so."""

_DOT_PRODUCT = (
    "The dot product of a user's vector and an item's vector is the retriever's score for the task "
    "home, that of a query's vector for the task search; higher is better, the scale is arbitrary. "
    "Vectors of other generations with the same `space` can be combined with these."
)

_ONE_PER_LINE = "Give --file a UTF-8 text with one query per line."


def embed(
    folder: Path,
    kind: Kind,
    out: Path | None,
    options: TrainOptions,
    file: Path | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """Write an id and its ``vector`` for every item, every user with events, or every query.

    Users also have ``activity`` and, where items have attributes in common, ``preferences``; the
    metadata of these names has the names of their numbers.

    Args:
        folder: of the workspace.
        kind: items (all that are not deleted, with those posted since the training), users or
            queries.
        out: Parquet file, written atomically; None = ``<kind>.parquet`` in the workspace's
            ``embeddings``.
        options: progress of the rows, and the executor that encodes users and queries.
        file: UTF-8 text with one query per line; None = the queries of the event log.
        now: Unix seconds, the time of all requests; None = the present.

    Returns:
        ``kind``, ``rows``, ``out`` and the metadata of the file: ``generation``, ``space``,
        ``space_version``, ``model``, ``dimensions``, ``parts`` (width of each part of a vector, in
        order).

    Raises:
        NotTrainedError: no generation is published.
        ArtefactError: the generation has no vector space.
        UnsupportedError: the generation has no retriever.
        DataError: there are no queries, or their file is wrong.
        ConfigError: ``out`` cannot be written; checked before anything is computed.
        StorageError: ``out`` could not be written after the check.
    """
    workspace = Workspace.open(folder)
    target = out or workspace.embeddings / f"{kind}.parquet"
    with open_export(workspace, target, now, has_users=kind != "items") as (task, write_tables):
        engine = task.open()
        ids = _read_texts(workspace, file) if kind == "queries" else _list_ids(engine, kind)
        require_retriever(engine.state)
        space = open_space(workspace.generation_folder / engine.generation)
        require_writable(target)
        facts = {
            "generation": engine.generation,
            "space": space.name,
            "space_version": space.version,
            "model": space.model,
            "dimensions": sum(space.parts.values()),
            "parts": dict(space.parts),
        }
        if kind == "items":  # they are only read
            options = replace(options, executor=IN_PROCESS)
        schema = _schema(engine, kind, facts)
        task = replace(task, about=(kind, space, schema))
        name = f"{ID_COLUMN[kind]} vectors"
        parts = map_rows(encode_rows, task, ids, ROWS_PER_TASK, name, options)
        rows = write_tables(schema, parts)
    return {"kind": kind, "rows": rows, **facts, "out": str(target)}


def encode_rows(task: EngineTask) -> pa.Table:
    """The rows of a task about a kind, a space and a schema; also in another process."""
    import pyarrow as pa

    engine, (kind, space, schema) = task.open(), task.about
    state = engine.state
    retriever = require_retriever(state)
    table = PreferenceTable.of(state.catalogue)
    batches = []
    for begin in range(0, len(task.ids), BATCH):
        ids = task.ids[begin : begin + BATCH]
        columns = []
        if kind == "items":
            vectors = retriever.vectors_of(state.catalogue.vocabulary.numbers(ids))
        else:
            requests = [
                Request("home", name) if kind == "users" else Request("search", text=name)
                for name in ids
            ]
            queries = list(engine.queries(requests))
            # Long histories are condensed to the relevant part, as they are in serving.
            short = [shorten_history(query, state) for query in queries]
            vectors = retriever.encode_queries(short)
            measured = [[measure_activity(query.history, query.time) for query in queries]]
            measured += [[table.shares(query.history) for query in queries]] if table.names else []
            columns = list(map(np.stack, measured)) if kind == "users" else []
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(array.ravel(), pa.float32()), array.shape[1])
            for array in (space.rotate(vectors), *columns)
        ]
        batches.append(pa.record_batch([pa.array(ids, pa.string()), *arrays], schema=schema))
    return pa.Table.from_batches(batches, schema)


def _read_texts(workspace: Workspace, file: Path | None) -> list[str]:
    """Distinct queries of a file, in its order, or else of the event log; at least one."""
    if file is None:
        with workspace.open_store() as store:
            texts = store.log.queries(workspace.settings.actions.ignore)
    else:
        try:
            texts = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error}.", _ONE_PER_LINE) from None
    texts = [text for text in dict.fromkeys(map(str.strip, texts)) if text]
    if not texts:
        raise DataError(f"{file or 'the event log'} has no queries.", _ONE_PER_LINE)
    return texts


def _list_ids(engine: Engine, kind: Kind) -> Sequence[str]:
    if kind == "users":
        return [user for user, _ in engine.users(MOST_USERS)]
    numbers = np.flatnonzero(~engine.state.hidden).astype(np.int32)
    return engine.state.catalogue.vocabulary.ids_of(numbers)


def _schema(engine: Engine, kind: Kind, facts: Mapping[str, Any]) -> pa.Schema:
    import pyarrow as pa

    table = PreferenceTable.of(engine.state.catalogue)
    profile = {"activity": ACTIVITY, **({"preferences": table.columns} if table.names else {})}
    columns: Mapping[str, Sequence[str]] = profile if kind == "users" else {}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in {**facts, **columns, "dot_product": _DOT_PRODUCT}.items()
    }
    sizes = {"vector": facts["dimensions"]} | {name: len(names) for name, names in columns.items()}
    fields = [(name, pa.list_(pa.float32(), size)) for name, size in sizes.items()]
    return pa.schema([(ID_COLUMN[kind], pa.string()), *fields], metadata=texts)
