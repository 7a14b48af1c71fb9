"""Packed events: one row per user, with all events of theirs as one array.

What an import brings, and what a training finds in the tail, is packed: a history is one row,
a scan a concatenation, an erasure one row less. A pack is a set of such rows that becomes
visible at once. Ids of items and other texts that repeat are codes of names, which the pack has
once; queries and ids of requests, sessions and events are texts beside the array.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.events.event import EVENT_NUMBERS, EVENT_REQUIRED, EVENT_TEXTS, NO_SESSION
from serendip.data.events.event_table import read_codes, read_numbers, read_sessions, stable_order
from serendip.data.rows.arrow import to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

# Texts that repeat: codes in the array, names in the pack.
CODED = tuple(name for name, column in EVENT_TEXTS.items() if column.repeats and name != "user_id")
# Other texts: a BLOB for each user who has any.
BLOBS = tuple(name for name, column in EVENT_TEXTS.items() if not column.repeats)
SESSION = "session"  # the ``session_code`` of events
_OPTIONAL = {name: EVENT_NUMBERS[name] for name in EVENT_NUMBERS if name not in EVENT_REQUIRED}
# What an event has of a column that no event of the pack fills; of the others "" for no text.
_DEFAULTS: Mapping[str, Any] = {**dict.fromkeys(_OPTIONAL), SESSION: NO_SESSION}


@dataclass(frozen=True, slots=True, eq=False)
class PackNames:
    """What the events of a pack share; see ``PackedEvents``."""

    kind: np.dtype[np.void]
    first_seq: int
    names: Mapping[str, pa.StringArray]
    event_ids: NDArray[np.uint64]  # (N,) hashes, ascending, of the ids that senders gave


@dataclass(frozen=True, slots=True, eq=False)
class PackedEvents:
    """E events of some users of a pack, by user, time and arrival.

    The records have ``arrival``, ``timestamp``, and codes and numbers of the columns that an event
    of the pack fills.
    """

    user_ids: Sequence[str]
    users: IntArray  # (E,) indices into the ids, ascending
    records: NDArray[np.void]  # (E,)
    texts: Mapping[str, pa.LargeStringArray]  # of ``BLOBS``, those that were read and any event has
    names: Mapping[str, pa.StringArray]  # of ``CODED``: what its codes are indices into
    first_seq: int = 0  # added to the arrivals, gives the sequence numbers

    @classmethod
    def of_table(cls, table: pa.Table, arrivals: NDArray[np.integer[Any]]) -> Self:
        """Pack a table of events, at least one, whose ``arrivals`` (E,) are distinct, from 0.

        See ``event_table``; columns that no event fills are left out.
        """
        users, user_names = _rank(*_dense(*read_codes(table, "user_id")))
        times = read_numbers(table, "timestamp")
        order = np.arange(len(table)) if _ascends(arrivals) else np.argsort(arrivals)
        if not _ascends(times[order]):
            order = order[np.argsort(times[order], kind="stable")]
        order = order[stable_order(users[order])]
        present = set(table.column_names)
        coded = {n: _dense(*read_codes(table, n)) for n in CODED if n in present}
        span = np.uint32 if int(arrivals.max()) < 2**32 else np.uint64
        columns: dict[str, NDArray[Any]] = {"arrival": arrivals.astype(span)}
        columns["timestamp"] = times
        for name, (codes, names) in coded.items():
            columns[name] = codes.astype(np.min_scalar_type(max(1, len(names))))
        for name in filter(present.__contains__, _OPTIONAL):
            columns[name] = read_numbers(table, name)
        if "session_id" in present:
            columns[SESSION] = read_sessions(table)
        records = np.empty(len(table), [(name, one.dtype.str) for name, one in columns.items()])
        for name, column in columns.items():
            records[name] = column[order]
        texts = {
            name: table[name].combine_chunks().cast("large_string").take(to_arrow(order))
            for name in BLOBS
            if name in present
        }
        shared = {name: names for name, (_, names) in coded.items()}
        return cls(user_names.to_pylist(), users[order], records, texts, shared)

    @classmethod
    def of_rows(
        cls, shared: PackNames, rows: Sequence[Sequence[Any]], texts: Sequence[str]
    ) -> Self:
        """Read user ids, numbers of events, arrays and these texts of the table ``pack_rows``."""
        user_ids, counts, contents, *blobs = zip(*rows, strict=True)
        records = np.frombuffer(b"".join(contents), shared.kind)
        joined = {
            name: _join_texts(of_users, counts)
            for name, of_users in zip(texts, blobs, strict=True)
            if any(of_users)
        }
        users = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return cls(user_ids, users, records, joined, shared.names, shared.first_seq)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def seqs(self) -> NDArray[np.int64]:
        """(E,) sequence numbers."""
        return self.records["arrival"].astype(np.int64) + self.first_seq

    def is_counted(self, without: Sequence[str]) -> BoolArray:
        """(E,) False for events of some actions."""
        names = self.names["action"].to_pylist()
        counts = np.array([name not in without for name in names], np.bool_)
        return np.asarray(counts[self.records["action"]])

    def select(self, mask: BoolArray) -> PackedEvents:
        """The events for which (E,) is True."""
        if mask.all():
            return self
        places = to_arrow(np.flatnonzero(mask))
        texts = {name: column.take(places) for name, column in self.texts.items()}
        return replace(self, users=self.users[mask], records=self.records[mask], texts=texts)

    def user_rows(self, pack: int) -> Iterator[dict[str, Any]]:
        """Rows of the table ``pack_rows``, each when asked for."""
        ends = np.cumsum(np.bincount(self.users)).tolist()
        texts = [
            _split_texts(self.texts[name], ends) if name in self.texts else repeat(None)
            for name in BLOBS
        ]
        begin = 0
        for user_id, end, *own in zip(self.user_ids, ends, *texts):  # noqa: B905 - repeat has no end
            records = self.records[begin:end]
            yield {
                "pack": pack,
                "user_id": user_id,
                "events": end - begin,
                "last": int(records["arrival"].max()),
                "newest": float(records["timestamp"][-1]),
                "records": records.tobytes(),
                **dict(zip(BLOBS, own, strict=True)),
            }
            begin = end

    def table(self, names: Iterable[str]) -> pa.Table:
        """As a table of some columns, ``seq`` and ``session`` among them; see ``event_table``."""
        import pyarrow as pa

        return pa.table({name: self._column(name) for name in names if self._has(name)})

    def rows(self, names: Iterable[str]) -> list[tuple[Any, ...]]:
        """As rows of some columns, which is faster for few events; what is missing as in events."""
        columns = (
            self._values(name) if self._has(name) else repeat(_DEFAULTS.get(name, ""), len(self))
            for name in names
        )
        return list(zip(*columns, strict=True))

    def _has(self, name: str) -> bool:
        present = self.records.dtype.names or ()
        return name in present or name in self.texts or name in ("user_id", "seq")

    def _column(self, name: str) -> pa.Array:
        import pyarrow as pa

        if name == "user_id":
            names = pa.array(self.user_ids, "string")
            return pa.DictionaryArray.from_arrays(to_arrow(self.users), names)
        if name in CODED:
            codes = to_arrow(self.records[name].astype(np.int32))
            return pa.DictionaryArray.from_arrays(codes, self.names[name])
        if name in BLOBS:
            return self.texts[name].cast("string").dictionary_encode()
        if name in _OPTIONAL:
            numbers = pa.array(np.ascontiguousarray(self.records[name]), from_pandas=True)
            return numbers.cast(_OPTIONAL[name].dtype)
        return to_arrow(self.seqs if name == "seq" else self.records[name])

    def _values(self, name: str) -> list[Any]:
        if name == "user_id":
            return [self.user_ids[user] for user in self.users.tolist()]
        if name in ("seq", "timestamp", SESSION):
            numbers: list[Any] = (self.seqs if name == "seq" else self.records[name]).tolist()
            return numbers
        if name in _OPTIONAL:
            kind = int if _OPTIONAL[name].dtype == "int32" else float
            return [None if one != one else kind(one) for one in self.records[name].tolist()]
        texts: list[Any] = self._column(name).dictionary_decode().to_pylist()
        return texts


def _split_texts(texts: pa.LargeStringArray, ends: Iterable[int]) -> Iterator[bytes | None]:
    """Yield the lengths of texts, then their bytes, up to each end; None if all are empty."""
    _, buffer, content = texts.buffers()
    offsets = np.frombuffer(buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    lengths, begin = np.diff(offsets).astype(np.uint32), 0
    view = memoryview(b"" if content is None else content)
    for end in ends:
        part = bytes(view[offsets[begin] : offsets[end]])
        yield lengths[begin:end].tobytes() + part if part else None
        begin = end


def _join_texts(blobs: Sequence[bytes | None], sizes: Sequence[int]) -> pa.LargeStringArray:
    import pyarrow as pa

    pairs = list(zip(blobs, sizes, strict=True))
    lengths = b"".join(
        b"\0" * 4 * size if blob is None else blob[: 4 * size] for blob, size in pairs
    )
    content = b"".join(blob[4 * size :] for blob, size in pairs if blob is not None)
    offsets = np.append(0, np.cumsum(np.frombuffer(lengths, np.uint32), dtype=np.int64))
    buffers = pa.py_buffer(offsets), pa.py_buffer(content)
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers)


def encode_names(names: pa.StringArray) -> bytes:
    """Texts as bytes: their lengths, then their content."""
    (content,) = _split_texts(names.cast("large_string"), [len(names)])
    return bytes(4 * len(names)) if content is None else content


def decode_names(content: bytes, count: int) -> pa.StringArray:
    """Read what ``encode_names`` wrote."""
    return _join_texts([content], [count]).cast("string")


def hash_ids(ids: Iterable[str]) -> NDArray[np.uint64]:
    """(N,) 64 bits of BLAKE2b of ids of events."""
    digests = (hashlib.blake2b(one.encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(b"".join(digests), np.uint64)


def _ascends(numbers: NDArray[Any]) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _dense(codes: IntArray, names: pa.StringArray) -> tuple[IntArray, pa.StringArray]:
    used = np.bincount(codes, minlength=len(names)) > 0
    if used.all():
        return codes, names
    numbers = (np.cumsum(used) - 1).astype(np.int32)
    return numbers[codes], names.take(to_arrow(np.flatnonzero(used)))


def _rank(codes: IntArray, names: pa.StringArray) -> tuple[IntArray, pa.StringArray]:
    import pyarrow.compute as pc

    order = np.asarray(pc.sort_indices(names)).astype(np.int64)
    ranks = np.empty(len(names), np.int32)
    ranks[order] = np.arange(len(names))
    return ranks[codes], names.take(to_arrow(order))
