"""One segment of the event log: an immutable folder of events, in order of user, time and arrival.

::

    manifest.json    number of events, SHA-256 of every file, SHA-256 of itself
    events.parquet   all columns of the events; dictionary-encoded, zstd
    users.arrow      ids of the users, ascending
    offsets.npy      (U + 1,) first row of each user
    items.npy        (E,) numbers in items.arrow, actions.npy those in actions.arrow
    times.npy        (E,) Unix seconds; values.npy where an event has a value
    countries.npy    (E,) numbers in countries.arrow, if an event has a country
    sessions.npy     (E,) numbers of the sessions, if an event has one
    arrivals.npy     (E,) order of arrival: the event's sequence number is this plus the segment's
    event_ids.arrow  ids given by the senders, ascending, if there are any

Everything beside the Parquet file is the by-user index, mapped into memory: reading the past of one
user takes time in proportion to that past. A segment is written aside and renamed; which segments
count is up to the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.events.event import NO_SESSION, Event, session_code
from serendip.data.log.event_table import (
    NUMBERS,
    TEXTS,
    build_events,
    read_codes,
    read_numbers,
)
from serendip.data.rows.arrow import to_arrow, to_arrow_or_null
from serendip.errors import StorageError
from serendip.runtime.atomic_files import flush_tree, write_synced
from serendip.runtime.versions import CHECKSUM, MANIFEST, compute_checksums, seal, unseal

if TYPE_CHECKING:
    import pyarrow as pa

Arrivals: TypeAlias = NDArray[np.unsignedinteger[Any]]

FORMAT = 1
_ROW_GROUP = 1 << 16
_PARQUET = "events.parquet"
_COUNTRIES, _SESSIONS = "countries", "sessions.npy"
_INDEXED = ("user_id", "item_id", "timestamp", "action", "value")
_REPAIR = (
    "Restore the folder `log` and the database from one backup, or move both away and run "
    "`serendip import`, which rebuilds what is in your files."
)


class SegmentDamaged(StorageError):
    """A segment cannot be read: files of it are altered, or not there."""


class SegmentMissing(SegmentDamaged):
    """The files of a segment are not there: replaced a moment ago, or lost."""


def write_segment(folder: Path, table: pa.Table, arrivals: NDArray[np.integer[Any]]) -> str:
    """Write events as a segment into an empty folder, synced.

    Args:
        folder: exists.
        table: the events, at least one; see ``event_table``.
        arrivals: (E,) distinct, from 0.

    Returns:
        checksum of the segment.
    """
    texts = {name: _dense(*read_codes(table, name)) for name in TEXTS if name in table.column_names}
    users, user_names = _rank(*texts["user_id"])
    texts["user_id"] = users, user_names
    numbers = {name: table[name].combine_chunks() for name in NUMBERS if name in table.column_names}
    order = np.arange(len(table)) if _ascends(arrivals) else np.argsort(arrivals)
    times = read_numbers(table, "timestamp")
    if not _ascends(times[order]):
        order = order[np.argsort(times[order], kind="stable")]
    order = order[stable_order(users[order])]
    sorted_arrivals: Arrivals = arrivals[order].astype(_smallest_type(arrivals))
    sorted_texts = {name: (codes[order], names) for name, (codes, names) in texts.items()}
    sorted_numbers = {name: column.take(order) for name, column in numbers.items()}
    _write_parquet(folder / _PARQUET, sorted_texts, sorted_numbers, sorted_arrivals)
    counts = np.bincount(users, minlength=len(user_names))
    np.save(folder / "offsets.npy", np.append(0, np.cumsum(counts)))
    np.save(folder / "times.npy", times[order])
    np.save(folder / "arrivals.npy", sorted_arrivals)
    np.save(folder / "items.npy", sorted_texts["item_id"][0])
    np.save(folder / "actions.npy", sorted_texts["action"][0])
    if "value" in table.column_names:
        np.save(folder / "values.npy", read_numbers(table, "value")[order])
    for column, file in (("user_id", "users"), ("item_id", "items"), ("action", "actions")):
        _write_ids(folder / f"{file}.arrow", texts[column][1])
    if "country" in texts:
        codes, names = sorted_texts["country"]
        np.save(folder / f"{_COUNTRIES}.npy", codes.astype(np.min_scalar_type(len(names))))
        _write_ids(folder / f"{_COUNTRIES}.arrow", names)
    if "session_id" in texts:
        codes, names = sorted_texts["session_id"]
        np.save(folder / _SESSIONS, number_sessions(codes, names))
    if "event_id" in texts:
        _write_ids(folder / "event_ids.arrow", _given_ids(*texts["event_id"]))
    facts = {"format": FORMAT, "events": len(table), "files": compute_checksums(folder)}
    manifest = seal(facts)
    write_synced(folder / MANIFEST, manifest)
    flush_tree(folder)
    return str(unseal(manifest.encode())[CHECKSUM])


def number_sessions(codes: IntArray, names: pa.StringArray) -> NDArray[np.int64]:
    """(E,) ``session_code`` of texts (E,), given by codes and what they are indices into."""
    numbers: NDArray[np.int64] = np.array(list(map(session_code, names.to_pylist())), np.int64)
    return numbers[codes]


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment, mapped into memory; it stays readable when its folder is removed.

    Args:
        name: of its folder.
        user_ids: U ids, ascending.
        offsets: (U + 1,) int64 first row of each user.
        item_ids: the ids that ``items`` are indices into.
        items: (E,) int32.
        action_names: the names that ``actions`` are indices into.
        actions: (E,) int32.
        times: (E,) float64 Unix seconds.
        values: (E,) float64, NaN where an event has none; None = no event has one.
        country_names: the names that ``countries`` are indices into; empty = not known.
        countries: (E,) unsigned; None = no event has one.
        sessions: (E,) int64; None = no event has one, or an earlier version wrote the segment.
        arrivals: (E,) order of arrival.
        event_ids: ids given by the senders, ascending.
        parquet: content of the Parquet file.
    """

    name: str
    user_ids: pa.StringArray
    offsets: NDArray[np.int64]
    item_ids: pa.StringArray
    items: IntArray
    action_names: Sequence[str]
    actions: IntArray
    times: TimeArray
    values: TimeArray | None
    country_names: Sequence[str]
    countries: NDArray[np.unsignedinteger[Any]] | None
    sessions: NDArray[np.int64] | None
    arrivals: Arrivals
    event_ids: pa.StringArray | None
    parquet: pa.Buffer

    @classmethod
    def open(cls, folder: Path, checksum: str) -> Segment:
        """Map a segment into memory and verify all its files.

        Raises:
            SegmentMissing: the folder is not there.
            SegmentDamaged: a file is missing, altered or of another format.
        """
        try:
            return cls._map_files(folder, checksum)
        except (OSError, SegmentDamaged) as error:
            if folder.is_dir() and isinstance(error, SegmentDamaged):
                raise
            if folder.is_dir():
                raise _not_readable(folder, error) from None
            raise SegmentMissing(
                f"segment {folder.name} of the event log is missing.", _REPAIR
            ) from None

    @classmethod
    def _map_files(cls, folder: Path, checksum: str) -> Segment:
        _verify(folder, checksum)
        has_countries = (folder / f"{_COUNTRIES}.npy").exists()
        names = _map_ids(folder / f"{_COUNTRIES}.arrow").to_pylist() if has_countries else ()
        return cls(
            folder.name,
            user_ids=_map_ids(folder / "users.arrow"),
            offsets=_map(folder / "offsets.npy"),
            item_ids=_map_ids(folder / "items.arrow"),
            items=_map(folder / "items.npy"),
            action_names=_map_ids(folder / "actions.arrow").to_pylist(),
            actions=_map(folder / "actions.npy"),
            times=_map(folder / "times.npy"),
            values=_map(folder / "values.npy") if (folder / "values.npy").exists() else None,
            country_names=names,
            countries=_map(folder / f"{_COUNTRIES}.npy") if has_countries else None,
            sessions=_map(path) if (path := folder / _SESSIONS).exists() else None,
            arrivals=_map(folder / "arrivals.npy"),
            event_ids=_map_ids(path) if (path := folder / "event_ids.arrow").exists() else None,
            parquet=_map_file(folder / _PARQUET),
        )

    def __len__(self) -> int:
        return len(self.items)

    def rows_of(self, user_id: str) -> slice:
        """The rows of a user, oldest first; empty for an unknown one."""
        number = self.number_of(user_id)
        if number is None:
            return slice(0, 0)
        return slice(int(self.offsets[number]), int(self.offsets[number + 1]))

    def number_of(self, user_id: str) -> int | None:
        """Number of a user among ``user_ids``; None for an unknown one."""
        return _find(self.user_ids, user_id)

    def users_of(self, rows: NDArray[np.integer[Any]]) -> IntArray:
        """User numbers of rows."""
        return (np.searchsorted(self.offsets, rows, side="right") - 1).astype(np.int32)

    def has_event(self, event_id: str) -> bool:
        """Whether an event was sent with this id."""
        return self.event_ids is not None and _find(self.event_ids, event_id) is not None

    def values_of(self, rows: slice | NDArray[np.integer[Any]]) -> TimeArray:
        """Values of rows, NaN where there is none."""
        if self.values is None:
            return np.full(len(self.times[rows]), np.nan)
        return self.values[rows]

    def countries_of(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """Countries of rows; empty where it is not known."""
        if self.countries is None:
            return [""] * len(rows)
        return [self.country_names[code] for code in self.countries[rows].tolist()]

    def sessions_of(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Numbers of the sessions of rows."""
        if self.sessions is None:
            return np.full(len(rows), NO_SESSION, np.int64)
        sessions: NDArray[np.int64] = self.sessions[rows]
        return sessions

    def codes_of(self, names: Sequence[str]) -> list[int]:
        """Codes in ``actions`` of some actions."""
        return [code for code, name in enumerate(self.action_names) if name in names]

    def counts_by_user(self, without: Sequence[str]) -> NDArray[np.int64]:
        """(U,) number of events of each user, without some actions."""
        codes = self.codes_of(without)
        if not codes:
            return np.diff(self.offsets)
        counted = np.append(0, np.cumsum(~np.isin(self.actions, codes)))  # (E + 1,)
        return np.diff(counted[self.offsets])

    def events(self, rows: NDArray[np.integer[Any]]) -> list[Event]:
        """Events by ascending row number, with every column."""
        further = [name for name in self.columns if name in {*TEXTS, *NUMBERS} - {*_INDEXED}]
        table = self.table(further, rows)
        indexed = {
            "user_id": self.user_ids.take(to_arrow(self.users_of(rows))).to_pylist(),
            "item_id": self.item_ids.take(to_arrow(self.items[rows])).to_pylist(),
            "timestamp": self.times[rows].tolist(),
            "action": [self.action_names[code] for code in self.actions[rows].tolist()],
            "value": to_arrow_or_null(self.values_of(rows)).to_pylist(),
        }
        return build_events({**indexed, **{name: table[name].to_pylist() for name in further}})

    def table(
        self, columns: Sequence[str], rows: NDArray[np.integer[Any]] | None = None
    ) -> pa.Table:
        """Columns of the Parquet file; reads only the row groups that have the rows.

        Args:
            columns: by name.
            rows: ascending row numbers; None = all.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if rows is not None and not columns:
            return pa.table({})
        file = pq.ParquetFile(
            pa.BufferReader(self.parquet),
            metadata=self._metadata,
            read_dictionary=[name for name in columns if name in TEXTS],
        )
        if rows is None:
            return file.read(list(columns), use_threads=False)
        groups = np.unique(rows // _ROW_GROUP)
        table = file.read_row_groups(groups.tolist(), list(columns), use_threads=False)
        starts = np.searchsorted(groups, rows // _ROW_GROUP) * _ROW_GROUP
        return table.take(to_arrow(starts + rows % _ROW_GROUP))

    @property
    def columns(self) -> list[str]:
        """Columns of the events in the Parquet file, without ``arrival``."""
        return [name for name in self._metadata.schema.names if name != "arrival"]

    @cached_property
    def _metadata(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pq.read_metadata(pa.BufferReader(self.parquet))


def stable_order(numbers: IntArray) -> NDArray[np.intp]:
    """(E,) rows in ascending order of non-negative numbers, ties in order: two radix passes."""
    order = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    if len(numbers) and int(numbers.max()) > 0xFFFF:
        high = (numbers >> 16).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def _ascends(numbers: NDArray[Any]) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _smallest_type(arrivals: NDArray[np.integer[Any]]) -> type[np.unsignedinteger[Any]]:
    return np.uint32 if int(arrivals.max()) < 2**32 else np.uint64


def _dense(codes: IntArray, names: pa.StringArray) -> tuple[IntArray, pa.StringArray]:
    """The same column without names that no row has."""
    used = np.bincount(codes, minlength=len(names)) > 0
    if used.all():
        return codes, names
    numbers = (np.cumsum(used) - 1).astype(np.int32)
    return numbers[codes], names.take(np.flatnonzero(used))


def _rank(codes: IntArray, names: pa.StringArray) -> tuple[IntArray, pa.StringArray]:
    """The same column with its names in ascending order of their bytes."""
    import pyarrow.compute as pc

    order = np.asarray(pc.sort_indices(names))
    ranks = np.empty(len(names), np.int32)
    ranks[order] = np.arange(len(names))
    return ranks[codes], names.take(order)


def _given_ids(codes: IntArray, names: pa.StringArray) -> pa.StringArray:
    import pyarrow.compute as pc

    given = names.filter(pc.not_equal(names, ""))
    return given.take(pc.sort_indices(given))


def _write_parquet(
    path: Path,
    texts: dict[str, tuple[IntArray, pa.StringArray]],
    numbers: dict[str, pa.Array],
    arrivals: Arrivals,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers_of = {name: np.empty(len(names), np.int32) for name, (_, names) in texts.items()}

    def encode(name: str, rows: slice) -> pa.DictionaryArray:
        """A row group stores its whole dictionary: only the names of its own rows."""
        codes, names = texts[name]
        used = np.unique(codes[rows])
        numbers_of[name][used] = np.arange(len(used))
        return pa.DictionaryArray.from_arrays(numbers_of[name][codes[rows]], names.take(used))

    def group(begin: int) -> pa.Table:
        rows = slice(begin, begin + _ROW_GROUP)
        columns = {name: encode(name, rows) for name in texts}
        columns |= {name: column.slice(begin, _ROW_GROUP) for name, column in numbers.items()}
        return pa.table({**columns, "arrival": pa.array(arrivals[rows])})

    encoded = list(texts)
    with pq.ParquetWriter(
        path, group(0).schema, compression="zstd", use_dictionary=encoded
    ) as writer:
        for begin in range(0, len(arrivals), _ROW_GROUP):
            writer.write_table(group(begin), row_group_size=_ROW_GROUP)


def _write_ids(path: Path, ids: pa.StringArray) -> None:
    import pyarrow as pa

    table = pa.table({"id": ids})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, len(table)))


def _map_ids(path: Path) -> pa.StringArray:
    import pyarrow as pa

    column = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["id"]
    return column.chunk(0) if column.num_chunks else pa.array([], "string")


def _map(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
    return mapped


def _map_file(path: Path) -> pa.Buffer:
    import pyarrow as pa

    return pa.memory_map(str(path)).read_buffer()


def _find(ids: pa.StringArray, wanted: str) -> int | None:
    """Place of an id among ascending ones, by binary search; None if it is not there."""
    low, high, key = 0, len(ids), wanted.encode()
    while low < high:
        middle = (low + high) // 2
        if ids[middle].as_py().encode() < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ids) and ids[low].as_py() == wanted else None


def _verify(folder: Path, checksum: str) -> None:
    try:
        manifest = unseal((folder / MANIFEST).read_bytes())
        actual = compute_checksums(folder)
    except (OSError, ValueError) as error:
        raise _not_readable(folder, error) from None
    if manifest.get("format") != FORMAT:
        raise SegmentDamaged(
            f"segment {folder.name} of the event log has format {manifest.get('format')}, this "
            f"code reads {FORMAT}.",
            _REPAIR,
        )
    if manifest[CHECKSUM] != checksum:
        raise SegmentDamaged(
            f"segment {folder.name} of the event log is not the one that the database names.",
            _REPAIR,
        )
    expected = manifest["files"]
    for name in sorted(set(expected) | set(actual)):
        if expected.get(name) != actual.get(name):
            state = "missing" if name not in actual else "altered"
            raise SegmentDamaged(
                f"segment {folder.name} of the event log is damaged: {name} is {state}.", _REPAIR
            )


def _not_readable(folder: Path, error: Exception) -> SegmentDamaged:
    return SegmentDamaged(
        f"segment {folder.name} of the event log is not readable: {error}.", _REPAIR
    )
