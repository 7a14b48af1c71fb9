"""Data-quality checks of the store (``serendip doctor``), each PASS, WARN or FAIL.

One function per check: it reads items and events as columns, which ``CheckedData`` encodes once for
all checks, and reports the number of affected rows with up to ten examples. Checks never change or
drop anything.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.event import EventColumns
from serendip.data.item import Item
from serendip.data.store.store import IMPORT_KEY, Store
from serendip.data.vocabulary import Vocabulary

MAX_EXAMPLES = 10


class CheckedData:
    """Input of the checks: items and events, with encodings computed once.

    Args:
        items: the items that are not deleted.
        events: the whole log, in order of time.
        now: Unix seconds; later events are in the future.
        repeated_ids: (count, examples) of item ids repeated in the files.
    """

    def __init__(
        self,
        items: Sequence[Item],
        events: EventColumns,
        now: float,
        repeated_ids: tuple[int, tuple[str, ...]] = (0, ()),
    ) -> None:
        self.items = items
        self.events = events
        self.now = now
        self.repeated_ids = repeated_ids

    @cached_property
    def user_names(self) -> Vocabulary:
        """Users in order of their first event."""
        return Vocabulary(dict.fromkeys(self.events.user_ids))

    @cached_property
    def users(self) -> IntArray:
        """(E,) user numbers."""
        return self.user_names.numbers(self.events.user_ids)

    @cached_property
    def by_user(self) -> IntArray:
        """(U,) events per user."""
        return np.bincount(self.users, minlength=len(self.user_names)).astype(np.int32)

    @cached_property
    def logged(self) -> Vocabulary:
        """Item ids of the log, in order of their first event."""
        return Vocabulary(dict.fromkeys(self.events.item_ids))

    @cached_property
    def known_ids(self) -> frozenset[str]:
        """Ids of the catalogue."""
        return frozenset(item.item_id for item in self.items)

    def show(self, rows: BoolArray) -> tuple[str, ...]:
        """Describe the first ten events that a mask (E,) selects."""
        first = np.flatnonzero(rows)[:MAX_EXAMPLES].tolist()
        columns = self.events
        return tuple(
            f"user {columns.user_ids[row]}, item {columns.item_ids[row]}, "
            f"time {columns.timestamps[row]:.0f}"
            for row in first
        )


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


def run_checks(
    items: Store | Iterable[Item], events: EventColumns | None = None, now: float | None = None
) -> list[CheckResult]:
    """Run every check.

    Args:
        items: a store, or items.
        events: the log of these items; not needed with a store.
        now: Unix seconds; None = the current time.
    """
    moment = time.time() if now is None else now
    if isinstance(items, Store):
        content = items.content()
        note = json.loads(items.meta(IMPORT_KEY) or "{}")
        repeated = (int(note.get("duplicate_items", 0)), tuple(note.get("examples", ())))
        checked = CheckedData(content.items, content.events, moment, repeated)
    else:
        given = list(items)
        counts = Counter(item.item_id for item in given)
        names = tuple(name for name, count in counts.items() if count > 1)
        repeated = (len(given) - len(counts), names[:MAX_EXAMPLES])
        log = EventColumns.of_rows([]) if events is None else events
        checked = CheckedData(given, log, moment, repeated)
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
    count = len(data.user_names)
    return CheckResult("users", "WARN" if count < 2 else "PASS", count, count, f"{count:,} users")


def duplicate_items(data: CheckedData) -> CheckResult:
    """Repeated item ids; the last row counts."""
    count, examples = data.repeated_ids
    message = "rows repeat an item id; the last one counts"
    return _warn("duplicate item ids", count, len(data.items) + count, message, examples)


def duplicate_events(data: CheckedData) -> CheckResult:
    """Events identical in user, item, time, action and value."""
    columns = data.events
    numbers = np.column_stack(
        [
            data.users,
            data.logged.numbers(columns.item_ids),
            columns.timestamps,
            Vocabulary(dict.fromkeys(columns.actions)).numbers(columns.actions),
            np.nan_to_num(columns.values, nan=np.inf),
        ]
    )
    order = np.lexsort(numbers.T)
    repeats = np.zeros(len(columns), dtype=np.bool_)
    repeats[order[1:]] = (numbers[order[1:]] == numbers[order[:-1]]).all(axis=1)
    message = "events are identical to another one in user, item, time, action and value"
    return _warn("duplicate events", int(repeats.sum()), len(columns), message, data.show(repeats))


def unknown_items(data: CheckedData) -> CheckResult:
    """Events on items missing from the catalogue; models cannot learn from them."""
    unknown = np.fromiter(
        (bool(name) and name not in data.known_ids for name in data.logged.ids), dtype=np.bool_
    )
    rows = unknown[data.logged.numbers(data.events.item_ids)]
    names = [data.logged.id(number) for number in np.flatnonzero(unknown)[:MAX_EXAMPLES].tolist()]
    count, total = int(rows.sum()), len(rows)
    message = "events refer to an item that is not in the catalogue; they are ignored"
    if total and count == total:
        return CheckResult("events on unknown items", "FAIL", count, total, message, tuple(names))
    return _warn("events on unknown items", count, total, message, names)


def unseen_items(data: CheckedData) -> CheckResult:
    """Items without an event: only their content can recommend them."""
    unseen = [item.item_id for item in data.items if item.item_id not in data.logged]
    share = len(unseen) / max(1, len(data.items))
    message = "items have no event; they are recommended by content only"
    result = _warn("items never seen", len(unseen), len(data.items), message, unseen)
    return result if share > 0.5 else _to_pass(result)


def missing_titles(data: CheckedData) -> CheckResult:
    """Items without a title, which cannot be shown or found by name."""
    missing = [item.item_id for item in data.items if not item.title.strip()]
    return _warn("missing titles", len(missing), len(data.items), "items have no title", missing)


def duplicate_titles(data: CheckedData) -> CheckResult:
    """Distinct items with the same title, which people cannot distinguish."""
    counts = Counter(item.title for item in data.items if item.title)
    shared = {title: count for title, count in counts.items() if count > 1}
    message = "items share their title with another one"
    result = _warn("duplicate titles", sum(shared.values()), len(data.items), message, list(shared))
    return result if result.count > 0.05 * result.total else _to_pass(result)


def impossible_times(data: CheckedData) -> CheckResult:
    """Times before 1990 or in the future: often a wrong unit."""
    times = data.events.timestamps
    wrong = (times < YEAR_1990) | (times > data.now + DAY)
    message = "events are before 1990 or in the future; is the time unit right?"
    return _warn("impossible times", int(wrong.sum()), len(times), message, data.show(wrong))


def equal_times(data: CheckedData) -> CheckResult:
    """All events at one time: there is no order to learn from."""
    times = data.events.timestamps
    equal = len(times) > 1 and bool(times[0] == times[-1])
    count = len(times) if equal else 0
    message = "events all have the same time; evaluation needs events in order of time"
    return _warn("equal times", count, len(times), message, data.show(times == times[:1])[:1])


def same_second_bursts(data: CheckedData) -> CheckResult:
    """Events of one user in the same second: their order is unreliable."""
    seconds = np.floor(data.events.timestamps)
    order = np.lexsort((seconds, data.users))
    users, seconds = data.users[order], seconds[order]
    same = (users[1:] == users[:-1]) & (seconds[1:] == seconds[:-1])
    tied = np.zeros(len(order), dtype=np.bool_)
    tied[order[1:]] |= same
    tied[order[:-1]] |= same
    message = "events share their second with another one of the same user; their order is random"
    result = _warn(
        "same-second bursts", int(tied.sum()), len(tied), message, _names(data, data.users[tied])
    )
    return result if result.count > MAX_TIED_SHARE * result.total else _to_pass(result)


def single_event_users(data: CheckedData) -> CheckResult:
    """Users with one event: they have no next event to learn from."""
    single = np.flatnonzero(data.by_user == 1)
    message = "users have only one event"
    names = _names(data, single)
    result = _warn("users with one event", len(single), len(data.user_names), message, names)
    return result if result.count > 0.5 * result.total else _to_pass(result)


def top_user(data: CheckedData) -> CheckResult:
    """One user with a large share of the log is often a bot or a test account."""
    most = int(data.by_user.max(initial=0))
    names = _names(data, np.flatnonzero(data.by_user == most)[:1]) if most else ()
    message = "events come from the most active user"
    result = _warn("share of the top user", most, len(data.events), message, names)
    is_large = len(data.user_names) > 1 and most > MAX_TOP_USER_SHARE * len(data.events)
    return result if is_large else _to_pass(result)


def odd_values(data: CheckedData) -> CheckResult:
    """Values beyond a million, or a constant value."""
    values = data.events.values
    given = values[~np.isnan(values)]
    odd = np.abs(values) > MAX_VALUE
    if len(given) > 1 and (given == given[0]).all():
        message = f"values are all {given[0]:g}; a constant carries no information"
        return CheckResult("values", "WARN", len(given), len(values), message)
    message = f"values are beyond {MAX_VALUE:,.0f}"
    if len(given):
        message += f" (they range from {given.min():g} to {given.max():g})"
    return _warn("values", int(odd.sum()), len(given), message, data.show(odd))


def long_texts(data: CheckedData) -> CheckResult:
    """Titles and descriptions so long that an encoder reads only their beginning."""
    long = [
        item.item_id for item in data.items if len(item.title) + len(item.description) > LONG_TEXT
    ]
    message = f"items have more than {LONG_TEXT:,} characters of text"
    return _warn("very long texts", len(long), len(data.items), message, long)


def unprintable_ids(data: CheckedData) -> CheckResult:
    """Ids with control or invisible characters: two that look the same may differ."""
    names = [*(item.item_id for item in data.items), *data.user_names.ids]
    odd = [ascii(name) for name in names if not name.isprintable()]
    return _warn("unprintable ids", len(odd), len(names), "ids contain invisible characters", odd)


CHECKS: tuple[Check, ...] = (
    *(has_items, has_events, has_users),
    *(duplicate_items, missing_titles, duplicate_titles, long_texts, unseen_items),
    *(duplicate_events, unknown_items, impossible_times, equal_times, same_second_bursts),
    *(single_event_users, top_user, odd_values, unprintable_ids),
)


def _warn(name: str, count: int, total: int, message: str, examples: Sequence[str]) -> CheckResult:
    share = f" ({count / total:.1%})" if count and total else ""
    return CheckResult(
        name,
        "WARN" if count else "PASS",
        count,
        total,
        f"{count:,} of {total:,} {message}{share}",
        tuple(examples[:MAX_EXAMPLES]) if count else (),
    )


def _to_pass(result: CheckResult) -> CheckResult:
    return replace(result, status="PASS")


def _names(data: CheckedData, numbers: NDArray[np.integer[Any]]) -> tuple[str, ...]:
    distinct = list(dict.fromkeys(numbers.tolist()))[:MAX_EXAMPLES]
    return tuple(data.user_names.ids_of(distinct))
