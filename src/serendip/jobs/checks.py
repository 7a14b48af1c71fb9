"""Data-quality checks of the store (``serendip doctor``), which never change or drop anything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from serendip.data.store.store import IMPORT_KEY, Store
from serendip.files.cells import connect, strip_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Status: TypeAlias = Literal["PASS", "WARN", "FAIL"]

MAX_EXAMPLES = 10
YEAR_1990 = 631_152_000
DAY = 86_400
MAX_VALUE = 1_000_000


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check, PASS, WARN (usable) or FAIL (not usable), with affected rows."""

    name: str
    status: Status
    message: str
    count: int = 0
    total: int = 1
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One look at items and events.

    Args:
        affected: SQL of pairs of an example and the number of affected rows that it stands for.
        rows: SQL of what is looked at, behind FROM.
        is_fatal: whether it is a failure if all rows are affected.
    """

    name: str
    tolerated: float
    message: str
    affected: str
    rows: str
    is_fatal: bool = False


_TABLES = (
    "CREATE TEMP VIEW events AS SELECT user_id, item_id, action, timestamp, {value} AS value, "
    "hash(user_id, floor(timestamp)) AS moment FROM logged",
    "CREATE TEMP TABLE users AS SELECT user_id, count(*) AS n FROM events GROUP BY ALL",
    # A list is shown at once, in the order of its positions: impressions share their second.
    "CREATE TEMP VIEW choices AS FROM events WHERE action <> 'impression'",
    "CREATE TEMP TABLE busy AS SELECT moment FROM events GROUP BY ALL HAVING count(*) > 1",
)
"""Tables beside ``items``, all that are not deleted, and ``now``, of one row; ``busy`` has the
seconds in which a user may have several events."""

_EVENT = "format('user {}, item {}, time {:.0f}', user_id, item_id, timestamp)"

CHECKS = (
    Check(
        "missing titles",
        0,
        "items have no title",
        f"SELECT item_id, 1 FROM items WHERE {strip_sql('title')} = ''",
        "items",
    ),
    Check(
        "duplicate titles",
        0.05,
        "items share their title with another one",
        "SELECT title, count(*) AS n FROM items WHERE title <> '' GROUP BY ALL HAVING n > 1",
        "items",
    ),
    Check(
        "items never seen",
        0.5,
        "items have no event; only content recommends them",
        "SELECT item_id, 1 FROM items ANTI JOIN events USING (item_id)",
        "items",
    ),
    Check(
        "duplicate events",
        0,
        "events are identical to another one in user, item, time, action and value",
        f"SELECT {_EVENT}, count(*) - 1 AS n FROM events SEMI JOIN busy USING (moment) "
        "GROUP BY user_id, item_id, timestamp, action, value HAVING n > 0",
        "events",
    ),
    Check(
        "impossible times",
        0,
        "events are before 1990 or in the future; is the time unit right?",
        f"SELECT {_EVENT}, 1 FROM events, now "
        f"WHERE timestamp < {YEAR_1990} OR timestamp > now.time + {DAY}",
        "events",
    ),
    Check(
        "same-second events",
        0.2,
        "events share their second with another one of the same user; their order is random",
        "SELECT user_id, sum(n) FROM (SELECT user_id, count(*) AS n FROM choices SEMI JOIN busy "
        "USING (moment) GROUP BY user_id, floor(timestamp) HAVING n > 1) GROUP BY ALL",
        "choices",
    ),
    Check(  # the column may be a date of the work, such as a release
        "hidden items",
        0,
        "items are hidden until their available_from; if they may be shown before, correct its "
        "line in [items.columns]",
        "SELECT item_id || ' until ' || make_timestamp((available_from * 1e6)::BIGINT)::DATE, 1 "
        "FROM items, now WHERE available_from > now.time ORDER BY available_from DESC",
        "items",
    ),
    Check(  # models cannot learn from them
        "events on unknown items",
        0,
        "events refer to an item that is not in the catalogue; they are ignored "
        "(`from_events = true` in [items] makes items of such ids)",
        "SELECT item_id, count(*) FROM events ANTI JOIN items USING (item_id) "
        "WHERE item_id <> '' GROUP BY ALL",
        "events",
        is_fatal=True,
    ),
    Check(  # a bot or a test account is often the most active user; somebody alone is none
        "share of the top user",
        0.2,
        "events come from the most active user",
        "SELECT user_id, n FROM users WHERE (SELECT count(*) FROM users) > 1 "
        "ORDER BY n DESC LIMIT 1",
        "events",
    ),
    Check(
        "values",
        0,
        f"values are beyond {MAX_VALUE:,}, or all are the same and say nothing",
        f"SELECT {_EVENT} || ', value ' || value, 1 FROM events WHERE abs(value) > {MAX_VALUE} OR "
        "(SELECT min(value) = max(value) AND count(value) > 1 FROM events) AND value IS NOT NULL",
        "events WHERE value IS NOT NULL",
    ),
)


def run_checks(store: Store, now: float | None = None) -> list[CheckResult]:
    """Run every check; events later than ``now``, None = the clock, are in the future."""
    items, events = store.columns()
    note = json.loads(store.meta(IMPORT_KEY) or "{}")
    repeated, examples = int(note.get("duplicate_items", 0)), note.get("examples", ())
    with closing(connect()) as connection:
        connection.register("items", items)
        connection.register("logged", events)
        connection.execute(
            "CREATE TEMP TABLE now AS SELECT ?::DOUBLE AS time", [now or time.time()]
        )
        value = "value" if "value" in events.column_names else "NULL::DOUBLE"
        for table in _TABLES:
            connection.execute(table.format(value=value))
        users = _count(connection, "users")
        found = [_run(check, connection) for check in CHECKS]
    text = "rows repeat an item id; the last one counts"
    known = Check("duplicate item ids", 0, text, "", "")
    same = _conclude(known, repeated, len(items) + repeated, examples)
    return [*_sizes(len(items), len(events), users), same, *found]


def _sizes(items: int, events: int, users: int) -> Iterator[CheckResult]:
    # No catalogue is a failure, one of one item hardly one.
    status: Status = "WARN" if items == 1 else "PASS" if items else "FAIL"
    yield CheckResult("catalogue", status, f"{items:,} items", items, items)
    alone = "no events: search, similar items, and a home of the best rated work"
    told = f"{events:,} events" if events else alone
    yield CheckResult("events", "PASS" if events else "WARN", told, events, events)
    yield CheckResult("users", "WARN" if users < 2 else "PASS", f"{users:,} users", users, users)


def _run(check: Check, connection: DuckDBPyConnection) -> CheckResult:
    query = (
        f"WITH found(example, n) AS MATERIALIZED ({check.affected}) SELECT coalesce(sum(n), 0), "
        f"(SELECT list(example) FROM (SELECT example FROM found LIMIT {MAX_EXAMPLES})) FROM found"
    )
    ((count, examples),) = connection.execute(query).fetchall()
    return _conclude(check, int(count), _count(connection, check.rows), examples or ())


def _count(connection: DuckDBPyConnection, rows: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()
    return int(count)


def _conclude(check: Check, count: int, total: int, examples: Iterable[str]) -> CheckResult:
    share = f" ({count / total:.1%})" if count and total else ""
    status: Status = "WARN" if count > check.tolerated * total else "PASS"
    if check.is_fatal and count == total > 0:
        status = "FAIL"
    shown = tuple(text if text.isprintable() else ascii(text) for text in examples)
    message = f"{count:,} of {total:,} {check.message}{share}"
    return CheckResult(check.name, status, message, count, total, shown)
