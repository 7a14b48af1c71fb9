"""Figures of what people did with answers, from the event log alone: searches, clicks, conversions.

An answer counts if an event of its ``request_id`` is logged; an event without one is an answer of
its own. A *search* is an answer to a typed text; one without results is an impression of no item,
as the page sends it. A *click* is a choice of an item: interest that is no
impression. A *conversion* is an action that always is a like (``[actions] always_like``). What a
login stored for a user, too, does not count again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from serendip.data.events.event import EVENT_NUMBERS, EVENT_TEXTS, MERGED
from serendip.data.moment import Moment
from serendip.files.cells import connect

if TYPE_CHECKING:
    import pyarrow as pa

    from serendip.data import ActionRules

GroupKind = Literal["total", "surfaces", "queries", "items"]

_GROUPS: Mapping[GroupKind, tuple[str, str]] = {
    "total": ("''", "true"),
    "surfaces": ("surface", "true"),
    "queries": ("query", "query <> ''"),
    "items": ("item_id", "item_id <> ''"),
}
"""What figures are grouped by, and the events that belong to a group."""

_EVENTS = """
WITH told AS (
    SELECT user_id, item_id, position, query, surface,
           item_id = '' AND action = 'impression' AS is_failed,
           item_id <> '' AND action = 'impression' AS is_shown,
           item_id <> '' AND NOT list_contains($ignored, action) AS is_click,
           item_id <> '' AND list_contains($conversions, action) AS is_conversion,
           if(request_id = '', concat(user_id, ' ', timestamp), request_id) AS answer
    FROM (SELECT *{absent} FROM events)
    WHERE surface <> 'suggest' AND NOT starts_with(request_id, '{merged}')
)
SELECT * EXCLUDE (query, surface),
       bool_or(is_shown) OVER same AS is_seen,
       lower(trim(max(query) OVER same)) AS query,
       coalesce(
           nullif(max(surface) OVER same, ''), if(max(query) OVER same <> '', 'search', 'home')
       ) AS surface
FROM told WINDOW same AS (PARTITION BY answer)
"""

_FIGURES = """
SELECT {key} AS name,
       count(DISTINCT answer) AS answers,
       count(DISTINCT answer) FILTER (query <> '') AS searches,
       count(DISTINCT answer) FILTER (is_failed) AS without_results,
       count(*) FILTER (is_shown) AS shown,
       count(DISTINCT (answer, item_id)) FILTER (is_click) AS clicks,
       count(DISTINCT (answer, item_id)) FILTER (is_click AND is_seen) / nullif(shown, 0)
           AS click_rate,
       count(*) FILTER (is_conversion) AS conversions,
       count(DISTINCT user_id) AS users,
       avg(position + 1) FILTER (is_click) AS place
FROM told WHERE {where} GROUP BY 1 ORDER BY answers DESC, name LIMIT {most}
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """Figures of one surface, query or item, or of all.

    Args:
        name: what they are of; empty = all.
        answers: number of answers that were seen.
        searches: number of them to a typed text.
        without_results: number of searches that found nothing.
        shown: number of impressions.
        clicks: number of items that were chosen, each once for an answer.
        click_rate: clicks per impression (CTR), of answers with impressions; None without any.
        conversions: number of actions that always are likes.
        users: number of different users.
        place: mean 1-based place of what was chosen; None = not known.
        title: of an item.
    """

    name: str
    answers: int
    searches: int
    without_results: int
    shown: int
    clicks: int
    click_rate: float | None
    conversions: int
    users: int
    place: float | None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a time.

    Args:
        since: begin of the time, which ends now.
        total: of everything.
        surfaces: of each surface, most frequent first.
        queries: of the most frequent typed texts.
        items: of the items in most answers.
        coverage: share of the catalogue that was shown.
        new_share: share of the impressions that are of new items.
    """

    since: Moment
    total: Figure
    surfaces: Sequence[Figure]
    queries: Sequence[Figure]
    items: Sequence[Figure]
    coverage: float
    new_share: float | None


NOTHING = Figure("", 0, 0, 0, 0, 0, None, 0, 0, None)


def _fill(names: Sequence[str]) -> str:
    """SQL of the columns that no event fills, which a table of the log lacks."""
    values = {name: "''" for name in EVENT_TEXTS} | dict.fromkeys(EVENT_NUMBERS, "NULL::DOUBLE")
    return "".join(f", {value} AS {name}" for name, value in values.items() if name not in names)


def count_events(
    events: pa.Table, rules: ActionRules, most: int
) -> tuple[Mapping[GroupKind, Sequence[Figure]], Mapping[str, int]]:
    """Count events.

    Returns:
        figures of all and of the ``most`` frequent surfaces, queries and items, and the number of
        impressions of each item.
    """
    with connect() as connection:
        connection.register("events", events)
        parameters = {
            "ignored": ["impression", *rules.ignore, *rules.negative],
            "conversions": [*rules.always_like],
        }
        told = _EVENTS.format(absent=_fill(events.column_names), merged=MERGED)
        connection.execute(f"CREATE TEMP TABLE told AS {told}", parameters)
        found: dict[GroupKind, Sequence[Figure]] = {}
        for kind, (key, where) in _GROUPS.items():
            query = _FIGURES.format(key=key, where=where, most=most)
            found[kind] = [Figure(*row) for row in connection.execute(query).fetchall()]
        shown = "SELECT item_id, count(*) FROM told WHERE is_shown GROUP BY 1"
        return found, dict(connection.execute(shown).fetchall())
