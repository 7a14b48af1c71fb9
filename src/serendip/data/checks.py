"""Data-quality checks of the store (``serendip doctor``), each PASS, WARN or FAIL.

One function per check: it reads items and events as columns of numbers, and reports the number of
affected rows with up to ten examples. Checks never change or drop anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.events.search_log import IMPRESSION
from serendip.data.log.columns import LogColumns
from serendip.data.log.event_table import stable_order
from serendip.data.store.store import IMPORT_KEY, Store

if TYPE_CHECKING:
    import pyarrow as pa

MAX_EXAMPLES = 10


@dataclass(frozen=True)
class CheckedData:
    """Input of the checks: items and events, with encodings computed once.

    Args:
        items: ``item_id``, ``title``, ``size`` (characters of title and description) and
            ``available_from`` of the N items that are not deleted.
        events: the whole log, in order of time.
        now: Unix seconds; later events are in the future.
        repeated_ids: (count, examples) of item ids repeated in the files.
    """

    items: pa.Table
    events: LogColumns
    now: float
    repeated_ids: tuple[int, tuple[str, ...]]

    @cached_property
    def events_of_user(self) -> IntArray:
        """(U,) events per user."""
        counts = np.bincount(self.events.users, minlength=len(self.events.user_ids))
        return counts.astype(np.int32)

    @cached_property
    def user_order(self) -> NDArray[np.intp]:
        """(E,) rows in order of user, then of time."""
        return stable_order(self.events.users)

    @cached_property
    def is_logged(self) -> BoolArray:
        """(N,) True for items with an event."""
        import pyarrow as pa
        import pyarrow.compute as pc

        logged = pa.array(self.events.item_ids, "string")
        return _mask(pc.is_in(self.items["item_id"], value_set=logged))

    @cached_property
    def is_known(self) -> BoolArray:
        """True for each of ``events.item_ids`` that is in the catalogue."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = self.items["item_id"].combine_chunks()
        return _mask(pc.is_in(pa.array(self.events.item_ids, "string"), value_set=known))

    def show(self, rows: NDArray[Any]) -> tuple[str, ...]:
        """Describe the first ten of some events, by ascending row number."""
        columns = self.events
        return tuple(
            f"user {columns.user_ids[columns.users[row]]}, "
            f"item {columns.item_ids[columns.items[row]]}, time {columns.timestamps[row]:.0f}"
            for row in rows[:MAX_EXAMPLES].tolist()
        )

    def item_ids(self, chosen: BoolArray) -> list[str]:
        """Ids of the first ten items that a mask (N,) selects."""
        rows = np.flatnonzero(chosen)[:MAX_EXAMPLES]
        ids: list[str] = self.items["item_id"].take(rows).to_pylist()
        return ids


Status: TypeAlias = Literal["PASS", "WARN", "FAIL"]

YEAR_1990 = 631_152_000.0
DAY = 86_400.0
LONG_TEXT = 10_000
MAX_TIED_SHARE = 0.2
MAX_TOP_USER_SHARE = 0.2
MAX_VALUE = 1e6


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check.

    Args:
        name: of the check.
        status: PASS, WARN (usable) or FAIL (not usable).
        count: number of affected rows.
        total: number of checked rows.
        message: one sentence for people.
        examples: up to ten affected rows.
    """

    name: str
    status: Status
    count: int
    total: int
    message: str
    examples: tuple[str, ...] = ()


Check: TypeAlias = Callable[[CheckedData], CheckResult]


def run_checks(store: Store, now: float | None = None) -> list[CheckResult]:
    """Run every check.

    Args:
        store: whose items and events are checked.
        now: Unix seconds; None = the current time.
    """
    items, events = store.columns()
    note = json.loads(store.meta(IMPORT_KEY) or "{}")
    repeated = (int(note.get("duplicate_items", 0)), tuple(note.get("examples", ())))
    moment = time.time() if now is None else now
    checked = CheckedData(items, events, moment, repeated)
    return [check(checked) for check in CHECKS]


def has_items(data: CheckedData) -> CheckResult:
    """The catalogue must not be empty."""
    count = len(data.items)
    status: Status = "FAIL" if not count else "WARN" if count == 1 else "PASS"
    return CheckResult("catalogue", status, count, count, f"{count:,} items")


def has_events(data: CheckedData) -> CheckResult:
    """Without events only search and similar items work."""
    count = len(data.events)
    message = f"{count:,} events" if count else "no events: only search and similar items will work"
    return CheckResult("events", "PASS" if count else "WARN", count, count, message)


def has_users(data: CheckedData) -> CheckResult:
    """Collaborative models need two users or more."""
    count = len(data.events.user_ids)
    return CheckResult("users", "WARN" if count < 2 else "PASS", count, count, f"{count:,} users")


def duplicate_items(data: CheckedData) -> CheckResult:
    """Repeated item ids; the last row counts."""
    count, examples = data.repeated_ids
    message = "rows repeat an item id; the last one counts"
    return _warn("duplicate item ids", count, len(data.items) + count, message, examples)


def duplicate_events(data: CheckedData) -> CheckResult:
    """Events identical in user, item, time, action and value."""
    columns = data.events
    order = data.user_order
    users, times = columns.users[order], columns.timestamps[order]
    rows = np.sort(order[_are_beside_equals(users, times)])  # candidates
    values = np.nan_to_num(columns.values[rows], nan=np.inf)
    fields = (columns.users, columns.timestamps, columns.items, columns.actions)
    keys = [values, *(field[rows] for field in fields)]
    ordered = np.lexsort(keys)
    repeats = np.ones(max(0, len(rows) - 1), np.bool_)
    for key in keys:
        repeats &= key[ordered[1:]] == key[ordered[:-1]]
    found = np.sort(rows[ordered[1:][repeats]])
    message = "events are identical to another one in user, item, time, action and value"
    return _warn("duplicate events", len(found), len(columns), message, data.show(found))


def unknown_items(data: CheckedData) -> CheckResult:
    """Events on items missing from the catalogue; models cannot learn from them."""
    names = data.events.item_ids
    unknown = ~data.is_known & np.array([bool(name) for name in names], np.bool_)
    rows = np.flatnonzero(unknown[data.events.items])
    first = list(dict.fromkeys(data.events.items[rows].tolist()))[:MAX_EXAMPLES]
    examples = [names[item] for item in first]
    name, count, total = "events on unknown items", len(rows), len(data.events)
    message = (
        "events refer to an item that is not in the catalogue; they are ignored "
        "(`from_events = true` in [items] makes items of such ids)"
    )
    if total and count == total:
        return CheckResult(name, "FAIL", count, total, message, tuple(examples))
    return _warn(name, count, total, message, examples)


def unseen_items(data: CheckedData) -> CheckResult:
    """Items without an event: only their content can recommend them."""
    unseen = ~data.is_logged
    count, total = int(unseen.sum()), len(data.items)
    message = "items have no event; they are recommended by content only"
    return _warn("items never seen", count, total, message, data.item_ids(unseen), 0.5)


def missing_titles(data: CheckedData) -> CheckResult:
    """Items without a title, which cannot be shown or found by name."""
    import pyarrow.compute as pc

    missing = _mask(pc.equal(pc.utf8_trim_whitespace(data.items["title"]), ""))
    count, examples = int(missing.sum()), data.item_ids(missing)
    return _warn("missing titles", count, len(data.items), "items have no title", examples)


def duplicate_titles(data: CheckedData) -> CheckResult:
    """Distinct items with the same title, which people cannot distinguish."""
    import pyarrow.compute as pc

    titles = data.items["title"]
    counts = titles.filter(pc.not_equal(titles, "")).value_counts()
    shared = counts.filter(pc.greater(counts.field("counts"), 1))
    message = "items share their title with another one"
    examples = shared.field("values")[:MAX_EXAMPLES].to_pylist()
    count, total = sum(shared.field("counts").to_pylist()), len(data.items)
    return _warn("duplicate titles", count, total, message, examples, 0.05)


def impossible_times(data: CheckedData) -> CheckResult:
    """Times before 1990 or in the future: often a wrong unit."""
    times = data.events.timestamps
    wrong = np.flatnonzero((times < YEAR_1990) | (times > data.now + DAY))
    message = "events are before 1990 or in the future; is the time unit right?"
    return _warn("impossible times", len(wrong), len(times), message, data.show(wrong))


def equal_times(data: CheckedData) -> CheckResult:
    """All events at one time: there is no order to learn from."""
    times = data.events.timestamps
    equal = len(times) > 1 and bool(times[0] == times[-1])
    count = len(times) if equal else 0
    message = "events all have the same time; evaluation needs events in order of time"
    return _warn("equal times", count, len(times), message, data.show(np.arange(min(1, count))))


def same_second_events(data: CheckedData) -> CheckResult:
    """Events of one user in the same second: their order is unreliable.

    Impressions are left out: those of a list are shown at once, in the order of their positions.
    """
    is_shown = np.array([name == IMPRESSION for name in data.events.action_names], np.bool_)
    order = data.user_order[~is_shown[data.events.actions[data.user_order]]]
    users, seconds = data.events.users[order], np.floor(data.events.timestamps[order])
    message = "events share their second with another one of the same user; their order is random"
    rows = np.sort(order[_are_beside_equals(users, seconds)])
    names = _names(data, data.events.users[rows])
    return _warn("same-second events", len(rows), len(order), message, names, MAX_TIED_SHARE)


def single_event_users(data: CheckedData) -> CheckResult:
    """Users with one event: they have no next event to learn from."""
    single = np.flatnonzero(data.events_of_user == 1)
    message = "users have only one event"
    names = _names(data, single)
    total = len(data.events.user_ids)
    return _warn("users with one event", len(single), total, message, names, 0.5)


def top_user(data: CheckedData) -> CheckResult:
    """One user with a large share of the log is often a bot or a test account."""
    most = int(data.events_of_user.max(initial=0))
    names = _names(data, np.flatnonzero(data.events_of_user == most)[:1]) if most else ()
    message = "events come from the most active user"
    tolerated = MAX_TOP_USER_SHARE if len(data.events.user_ids) > 1 else 1.0
    return _warn("share of the top user", most, len(data.events), message, names, tolerated)


def odd_values(data: CheckedData) -> CheckResult:
    """Values beyond a million, or a constant value."""
    values = data.events.values
    given = values[~np.isnan(values)]
    odd = np.flatnonzero(np.abs(values) > MAX_VALUE)
    if len(given) > 1 and (given == given[0]).all():
        message = f"values are all {given[0]:g}; a constant carries no information"
        return CheckResult("values", "WARN", len(given), len(values), message)
    message = f"values are beyond {MAX_VALUE:,.0f}"
    if len(given):
        message += f" (they range from {given.min():g} to {given.max():g})"
    return _warn("values", len(odd), len(given), message, data.show(odd))


def long_texts(data: CheckedData) -> CheckResult:
    """Titles and descriptions so long that an encoder reads only their beginning."""
    long = np.asarray(data.items["size"]) > LONG_TEXT
    message = f"items have more than {LONG_TEXT:,} characters of text"
    count, examples = int(long.sum()), data.item_ids(long)
    return _warn("very long texts", count, len(data.items), message, examples)


def hidden_items(data: CheckedData) -> CheckResult:
    """Items that are not shown yet: their column may be a date of the work, such as a release."""
    import pyarrow.compute as pc

    starts = np.asarray(pc.fill_null(data.items["available_from"], -np.inf))
    hidden = starts > data.now
    count, total = int(hidden.sum()), len(data.items)
    message = "items are hidden until their available_from"
    if count:
        last = datetime.fromtimestamp(float(starts[hidden].max()), UTC).date()
        message += f", the last one until {last}"
        message += "; if they may be shown before, correct its line in [items.columns]"
    return _warn("hidden items", count, total, message, data.item_ids(hidden))


def unprintable_ids(data: CheckedData) -> CheckResult:
    """Ids with control or invisible characters: two that look the same may differ."""
    import pyarrow as pa
    import pyarrow.compute as pc

    item_ids = data.items["item_id"].combine_chunks()
    names = pa.concat_arrays([item_ids, pa.array(data.events.user_ids, "string")])
    plain = pc.and_(pc.string_is_ascii(names), pc.ascii_is_printable(names))
    others = names.filter(pc.invert(plain)).to_pylist()
    odd = [ascii(name) for name in others if not name.isprintable()]
    return _warn("unprintable ids", len(odd), len(names), "ids contain invisible characters", odd)


CHECKS: tuple[Check, ...] = (
    *(has_items, has_events, has_users),
    *(duplicate_items, missing_titles, duplicate_titles, long_texts, unseen_items, hidden_items),
    *(duplicate_events, unknown_items, impossible_times, equal_times, same_second_events),
    *(single_event_users, top_user, odd_values, unprintable_ids),
)


def _warn(
    name: str,
    count: int,
    total: int,
    message: str,
    examples: Sequence[str],
    tolerated: float = 0.0,
) -> CheckResult:
    """A result that is a warning if more than a tolerated share of the rows is affected."""
    share = f" ({count / total:.1%})" if count and total else ""
    return CheckResult(
        name,
        "WARN" if count > tolerated * total else "PASS",
        count,
        total,
        f"{count:,} of {total:,} {message}{share}",
        tuple(examples[:MAX_EXAMPLES]) if count else (),
    )


def _are_beside_equals(users: IntArray, times: TimeArray) -> BoolArray:
    """(E,) True for events, in order of user and time, with the user and time of a neighbour."""
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    beside: BoolArray = np.append(False, same) | np.append(same, False)
    return beside[: len(users)]


def _names(data: CheckedData, users: NDArray[np.integer[Any]]) -> tuple[str, ...]:
    distinct = list(dict.fromkeys(users.tolist()))[:MAX_EXAMPLES]
    return tuple(data.events.user_ids[user] for user in distinct)


def _mask(array: Any) -> BoolArray:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)
