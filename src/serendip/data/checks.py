"""Data-quality checks of the store (``serendip doctor``), each PASS, WARN or FAIL.

``CHECKS`` has what most of them tell, and a function that finds the affected rows among items and
events, which are read as columns of numbers. Checks never change or drop anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    """Input of the checks: items and events.

    Args:
        items: ``item_id``, ``title`` and ``available_from`` of the N items that are not deleted.
        events: the whole log, in order of time.
        now: Unix seconds; later events are in the future.
        repeated_ids: (count, examples) of item ids repeated in the files.
    """

    items: pa.Table
    events: LogColumns
    now: float
    repeated_ids: tuple[int, Sequence[str]]

    @cached_property
    def events_of_user(self) -> IntArray:
        """(U,) events per user."""
        counts = np.bincount(self.events.users, minlength=len(self.events.user_ids))
        return counts.astype(np.int32)

    @cached_property
    def user_order(self) -> NDArray[np.intp]:
        """(E,) rows in order of user, then of time."""
        return stable_order(self.events.users)


Status: TypeAlias = Literal["PASS", "WARN", "FAIL"]

Found: TypeAlias = tuple[int, int, Iterable[str]]
"""Number of affected rows, of all of them, and examples."""

YEAR_1990 = 631_152_000.0
DAY = 86_400.0
MAX_VALUE = 1e6
MAX_TOP_USER_SHARE = 0.2


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


def run_checks(store: Store, now: float | None = None) -> list[CheckResult]:
    """Run every check.

    Args:
        store: whose items and events are checked.
        now: Unix seconds; None = the current time.
    """
    items, events = store.columns()
    note = json.loads(store.meta(IMPORT_KEY) or "{}")
    repeated = (int(note.get("duplicate_items", 0)), note.get("examples", ()))
    moment = time.time() if now is None else now
    data = CheckedData(items, events, moment, repeated)
    found = [_warn(*facts, *find(data)) for facts, find in CHECKS]
    others = (_hidden_items, _unknown_items, _top_user, _odd_values)
    return [*_sizes(data), *found, *(check(data) for check in others)]


def _sizes(data: CheckedData) -> Iterator[CheckResult]:
    """Yield what there is at all: no catalogue is a failure, one of one item hardly one."""
    items, events, users = len(data.items), len(data.events), len(data.events.user_ids)
    status: Status = "WARN" if items == 1 else "PASS" if items else "FAIL"
    yield CheckResult("catalogue", status, items, items, f"{items:,} items")
    alone = "no events: search, similar items, and a home of the best rated work"
    told = f"{events:,} events" if events else alone
    yield CheckResult("events", "PASS" if events else "WARN", events, events, told)
    yield CheckResult("users", "WARN" if users < 2 else "PASS", users, users, f"{users:,} users")


def _repeated_ids(data: CheckedData) -> Found:
    count, examples = data.repeated_ids
    return count, len(data.items) + count, examples


def _without_title(data: CheckedData) -> Found:
    import pyarrow.compute as pc

    return _items(data, pc.equal(pc.utf8_trim_whitespace(data.items["title"]), ""))


def _shared_titles(data: CheckedData) -> Found:
    import pyarrow.compute as pc

    titles = data.items["title"]
    counts = titles.filter(pc.not_equal(titles, "")).value_counts()
    shared = counts.filter(pc.greater(counts.field("counts"), 1))
    examples = shared.field("values")[:MAX_EXAMPLES].to_pylist()
    return sum(shared.field("counts").to_pylist()), len(data.items), examples


def _unseen_items(data: CheckedData) -> Found:
    import pyarrow as pa
    import pyarrow.compute as pc

    logged = pa.array(data.events.item_ids, "string")
    return _items(data, pc.invert(pc.is_in(data.items["item_id"], value_set=logged)))


def _equal_events(data: CheckedData) -> Found:
    columns, order = data.events, data.user_order
    users, times = columns.users[order], columns.timestamps[order]
    rows = np.sort(order[_are_beside_equals(users, times)])  # candidates
    values = np.nan_to_num(columns.values[rows], nan=np.inf)
    fields = (columns.users, columns.timestamps, columns.items, columns.actions)
    keys = [values, *(field[rows] for field in fields)]
    ordered = np.lexsort(keys)
    repeats = np.ones(max(0, len(rows) - 1), np.bool_)
    for key in keys:
        repeats &= key[ordered[1:]] == key[ordered[:-1]]
    return _events(data, np.sort(rows[ordered[1:][repeats]]))


def _impossible_times(data: CheckedData) -> Found:
    times = data.events.timestamps
    return _events(data, np.flatnonzero((times < YEAR_1990) | (times > data.now + DAY)))


def _same_second_events(data: CheckedData) -> Found:
    """Impressions are left out: a list is shown at once, in the order of its positions."""
    is_shown = np.array([name == IMPRESSION for name in data.events.action_names], np.bool_)
    order = data.user_order[~is_shown[data.events.actions[data.user_order]]]
    users, seconds = data.events.users[order], np.floor(data.events.timestamps[order])
    rows = np.sort(order[_are_beside_equals(users, seconds)])
    return len(rows), len(order), _users(data, data.events.users[rows])


def _single_event_users(data: CheckedData) -> Found:
    single = np.flatnonzero(data.events_of_user == 1)
    return len(single), len(data.events.user_ids), _users(data, single)


def _unprintable_ids(data: CheckedData) -> Found:
    """Of two ids that look the same, one may have control or invisible characters."""
    import pyarrow as pa
    import pyarrow.compute as pc

    item_ids = data.items["item_id"].combine_chunks()
    names = pa.concat_arrays([item_ids, pa.array(data.events.user_ids, "string")])
    plain = pc.and_(pc.string_is_ascii(names), pc.ascii_is_printable(names))
    others = names.filter(pc.invert(plain)).to_pylist()
    odd = [ascii(name) for name in others if not name.isprintable()]
    return len(odd), len(names), odd


def _warn(
    name: str, tolerated: float, message: str, count: int, total: int, examples: Iterable[str]
) -> CheckResult:
    """A result that is a warning if more than a tolerated share of the rows is affected."""
    share = f" ({count / total:.1%})" if count and total else ""
    status: Status = "WARN" if count > tolerated * total else "PASS"
    shown = tuple(examples)[:MAX_EXAMPLES] if count else ()
    return CheckResult(
        name, status, count, total, f"{count:,} of {total:,} {message}{share}", shown
    )


def _items(data: CheckedData, chosen: Any) -> Found:
    """Items that a mask (N,) of Arrow selects."""
    rows = np.flatnonzero(np.asarray(chosen.to_numpy(), np.bool_))
    return len(rows), len(data.items), data.items["item_id"].take(rows[:MAX_EXAMPLES]).to_pylist()


def _events(data: CheckedData, rows: NDArray[Any]) -> Found:
    """Events by ascending row number."""
    log = data.events
    shown = [
        f"user {log.user_ids[log.users[row]]}, item {log.item_ids[log.items[row]]}, "
        f"time {log.timestamps[row]:.0f}"
        for row in rows[:MAX_EXAMPLES].tolist()
    ]
    return len(rows), len(log), shown


def _users(data: CheckedData, users: NDArray[np.integer[Any]]) -> list[str]:
    first = list(dict.fromkeys(users.tolist()))[:MAX_EXAMPLES]
    return [data.events.user_ids[user] for user in first]


def _are_beside_equals(users: IntArray, times: TimeArray) -> BoolArray:
    """(E,) True for events, in order of user and time, with the user and time of a neighbour."""
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    beside: BoolArray = np.append(False, same) | np.append(same, False)
    return beside[: len(users)]


def _hidden_items(data: CheckedData) -> CheckResult:
    """Their column may be a date of the work, such as a release."""
    import pyarrow.compute as pc

    starts = pc.fill_null(data.items["available_from"], -np.inf)
    found = _items(data, pc.greater(starts, data.now))
    message = "items are hidden until their available_from"
    if found[0]:
        last = datetime.fromtimestamp(pc.max(starts).as_py(), UTC).date()
        message += f", the last one until {last}"
        message += "; if they may be shown before, correct its line in [items.columns]"
    return _warn("hidden items", 0, message, *found)


def _unknown_items(data: CheckedData) -> CheckResult:
    """Models cannot learn from events on items that are missing from the catalogue."""
    known, names = set(data.items["item_id"].to_pylist()) | {""}, data.events.item_ids
    unknown = np.array([name not in known for name in names], np.bool_)
    rows = np.flatnonzero(unknown[data.events.items])
    first = list(dict.fromkeys(data.events.items[rows].tolist()))[:MAX_EXAMPLES]
    message = (
        "events refer to an item that is not in the catalogue; they are ignored "
        "(`from_events = true` in [items] makes items of such ids)"
    )
    found = len(rows), len(data.events), [names[item] for item in first]
    result = _warn("events on unknown items", 0, message, *found)
    are_all = len(rows) == len(data.events) > 0
    return replace(result, status="FAIL", message=message) if are_all else result


def _top_user(data: CheckedData) -> CheckResult:
    """A bot or a test account is often the most active user; somebody alone is none."""
    most = int(data.events_of_user.max(initial=0))
    top = _users(data, np.flatnonzero(data.events_of_user == most)[:1]) if most else []
    tolerated = MAX_TOP_USER_SHARE if len(data.events.user_ids) > 1 else 1.0
    message = "events come from the most active user"
    return _warn("share of the top user", tolerated, message, most, len(data.events), top)


def _odd_values(data: CheckedData) -> CheckResult:
    """Values beyond a million, or a constant value."""
    values = data.events.values
    given = values[~np.isnan(values)]
    if len(given) > 1 and (given == given[0]).all():
        message = f"values are all {given[0]:g}; a constant carries no information"
        return CheckResult("values", "WARN", len(given), len(values), message)
    message = f"values are beyond {MAX_VALUE:,.0f}"
    if len(given):
        message += f" (they range from {given.min():g} to {given.max():g})"
    count, _, examples = _events(data, np.flatnonzero(np.abs(values) > MAX_VALUE))
    return _warn("values", 0, message, count, len(given), examples)


_IDENTICAL = "events are identical to another one in user, item, time, action and value"
_IMPOSSIBLE = "events are before 1990 or in the future; is the time unit right?"
_SAME_SECOND = "events share their second with another one of the same user; their order is random"

CHECKS: tuple[tuple[tuple[str, float, str], Callable[[CheckedData], Found]], ...] = (
    (("duplicate item ids", 0, "rows repeat an item id; the last one counts"), _repeated_ids),
    (("missing titles", 0, "items have no title"), _without_title),
    (("duplicate titles", 0.05, "items share their title with another one"), _shared_titles),
    (("items never seen", 0.5, "items have no event; only content recommends them"), _unseen_items),
    (("duplicate events", 0, _IDENTICAL), _equal_events),
    (("impossible times", 0, _IMPOSSIBLE), _impossible_times),
    (("same-second events", 0.2, _SAME_SECOND), _same_second_events),
    (("users with one event", 0.5, "users have only one event"), _single_event_users),
    (("unprintable ids", 0, "ids contain invisible characters"), _unprintable_ids),
)
"""Name, share of the rows that may be affected and what they are; and which they are."""
