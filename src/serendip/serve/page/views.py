"""Builds the template values of each page: answers of the engine, and what is offered beside them.

No HTML and no HTTP here: a view takes the engine and the parameters of the page. Templates show the
answers as they are, and ask the same engine for their items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from serendip.data import Item, normalise
from serendip.engine.explanations.translation import choose_language, find_translation
from serendip.engine.listing import AVAILABLE_FROM, DESCENDING, Facet
from serendip.engine.request import Answer, ChosenItem, Request, Suggestion
from serendip.errors import UnknownItemError
from serendip.serve.api.routes import get_item, require_public
from serendip.serve.page.params import PageQuery

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_FEED_ITEMS = 18
_FOUND_ITEMS = 24
_ROW_ITEMS = 12
_BECAUSE_ROWS = 2
_HISTORY_SHOWN = 60
_RECENT_ITEMS = 12
_EXPLAINED_ITEMS = 10
_CHIPS = 6
_MOST_FIGURES = 50  # surfaces, queries and items in the office
_MOST_SHOWN = 1000  # items of one list, however often more are asked for
_ASKED = 6  # attributes of the catalogue that are counted, and numbers to order by
_MOST_GROUPS = 2
_MOST_LINKS = 8
_MOST_CHARS = 30  # of a value; longer ones are texts and no words to choose by
_LEAST_SHARED = 2.0  # mean number of results of a value, for an attribute worth choosing by

_NEWEST = f"{DESCENDING}{AVAILABLE_FROM}"
_LABELS = {_NEWEST: "Newest first", AVAILABLE_FROM: "Oldest first"}


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """An answer on a page.

    Args:
        answer: of the engine.
        query: what was asked, which its links carry; ``first`` is the place of its first item.
        anchor: the item that it is similar to; None = no item.
    """

    answer: Answer
    query: PageQuery
    anchor: Item | None = None

    @property
    def more_link(self) -> str:
        """Link to the following items; empty if there are none."""
        shown = self.query.first + len(self.answer.items)
        if not self.answer.next or shown >= _MOST_SHOWN:
            return ""
        more = {"surface": self.query.surface, "cursor": self.answer.next, "first": shown}
        return self.query.link("/more", **more)


def feed(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the feed: recommendations, rows for recent choices, and the history."""
    query = PageQuery(user=query.user, surface=query.surface, language=query.language)
    history = engine.history(query.user, _HISTORY_SHOWN)
    chosen = engine.chosen(query.user, _HISTORY_SHOWN)
    request = Request(query.surface, query.user, k=_FEED_ITEMS, language=query.language)
    answer = engine.recommend(request)
    suggested = engine.suggest(Request(user_id=query.user, k=_CHIPS, language=query.language))
    liked = _select_liked_ids(chosen)
    recent = (engine.item(one.item_id) for one in chosen)
    return {
        "shown": ShownAnswer(answer, query),
        "suggested": suggested,
        "chips": list(enumerate(suggested.queries)),
        "rows": list(_because_rows(engine, query.user, chosen, liked)),
        "recent": list(islice((item for item in recent if item is not None), _RECENT_ITEMS)),
        "liked": liked,
        "num_events": len(history),
        "has_more_events": len(history) == _HISTORY_SHOWN,
    }


def office(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the figures of the last days."""
    language = choose_language(query.language)
    return {
        "figures": engine.figures(query.days, _MOST_FIGURES),
        "language": language,
        "tell": lambda sentence: find_translation(sentence, language),
    }


def search(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the search results and suggested queries.

    If nothing was found these are completions, and where there are none what to search instead.
    """
    query = _drop_order(engine, query, "search")
    require_public(engine, query.filter, query.sort)
    orders = [name for name in engine.sort_names("search") if engine.is_public(name)]
    facets = (*_list_facets(engine), *choose_numbers(orders))
    answer = Answer("", engine.generation, "search", ())
    if query.q or query.filter:
        asked = replace(_request(query), facets=tuple(dict.fromkeys(facets)))
        answer = engine.recommend(asked)
    wanted = Request(
        *("home", query.user, "" if answer.items else query.q),
        k=_CHIPS,
        after=query.q,
        language=query.language,
        filters=query.filter,
    )
    suggested = engine.suggest(wanted)
    if wanted.text and not suggested.queries:
        suggested = engine.suggest(replace(wanted, text=""))
    rewrites = answer.understood.rewrites if answer.understood else ()
    instead = [one.text for one in rewrites]
    # What is said already is no suggestion.
    told = {*instead, *(value for test in query.value_tests for value in test.values)}
    return {
        "shown": ShownAnswer(answer, query),
        "facets": choose_facets(answer.facets, query),
        "orders": choose_orders(orders, answer.facets, query) if answer.items else {},
        "redirect": answer.redirect,
        "suggested": suggested,
        "chips": list(_select_chips(suggested.queries, told)),
        "instead": instead,
        "liked": _find_liked_ids(engine, query),
        "has_failed": bool(query.q)
        and not (answer.items or answer.degraded or query.filter),  # nor cut short
    }


def _select_chips(
    queries: Sequence[Suggestion], told: set[str]
) -> Iterator[tuple[int, Suggestion]]:
    known = set(map(normalise, told))
    return ((place, one) for place, one in enumerate(queries) if normalise(one.text) not in known)


def _drop_order(engine: Engine, query: PageQuery, surface: str) -> PageQuery:
    """The parameters of a list of a surface, without an order where there is none to choose: a link
    may be older than the setting that sells its positions.
    """
    sort = query.sort if query.sort and engine.sort_names(surface) else ""
    return query.model_copy(update={"surface": surface, "sort": sort, "q": query.q.strip()})


def _request(query: PageQuery, k: int = _FOUND_ITEMS) -> Request:
    return Request(
        *(query.surface, query.user, query.q, (query.source,) if query.source else ()),
        literal=query.literal,
        k=k,
        cursor=query.cursor,
        filters=query.filter,
        sort=query.sort,
        language=query.language,
    )


def _list_facets(engine: Engine) -> Iterator[str]:
    names = (
        name
        for name in engine.attribute_names
        if not engine.is_code(name) and engine.is_public(name)
    )
    return islice(names, _ASKED)


def more(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the next part of a feed or of search results."""
    query = _drop_order(engine, query, query.surface)
    require_public(engine, query.filter, query.sort)
    answer = engine.recommend(_request(query.model_copy(update={"source": ""})))
    return {"shown": ShownAnswer(answer, query), "liked": _find_liked_ids(engine, query)}


def item(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the page of one item: attributes, semantic ID, similar items.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = get_item(engine, query.item_id)
    return {
        "item": found,
        "similar": _find_similar(engine, found, query.user),
        "liked": _find_liked_ids(engine, query),
    }


def why(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the explanation of an item: evidence, numbers, stages.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = get_item(engine, query.item_id)
    surface = "search" if query.q and query.surface == "home" else query.surface
    query = _drop_order(engine, query, surface)
    require_public(engine, query.filter, query.sort)
    asked = _request(query.model_copy(update={"cursor": ""}), k=_EXPLAINED_ITEMS)
    return {"item": found, "explanation": engine.explain(asked, query.item_id)}


def _find_similar(engine: Engine, anchor: Item, user_id: str) -> ShownAnswer:
    query = PageQuery(user=user_id, surface="similar", source=anchor.item_id)
    return ShownAnswer(engine.recommend(_request(query, k=_ROW_ITEMS)), query, anchor)


def _because_rows(
    engine: Engine, user_id: str, chosen: Sequence[ChosenItem], liked: frozenset[str]
) -> Iterator[ShownAnswer]:
    newest = sorted((one.item_id for one in chosen), key=lambda item_id: item_id not in liked)
    rows = 0
    for anchor in map(engine.item, newest[: 2 * _BECAUSE_ROWS]):
        if anchor is None or rows == _BECAUSE_ROWS:
            continue
        try:
            row = _find_similar(engine, anchor, user_id)
        except UnknownItemError:  # deleted since it was looked up
            continue
        if row.answer.items:
            rows += 1
            yield row


def _find_liked_ids(engine: Engine, query: PageQuery) -> frozenset[str]:
    return _select_liked_ids(engine.chosen(query.user, _HISTORY_SHOWN))


def _select_liked_ids(chosen: Sequence[ChosenItem]) -> frozenset[str]:
    return frozenset(one.item_id for one in chosen if one.liked)


def choose_facets(facets: Mapping[str, Facet], query: PageQuery) -> dict[str, list[str]]:
    """Attribute -> values to show: what the search filters by, then what its results share.

    Filters that are no value of an attribute, as written, are those of the empty name.

    Args:
        facets: attribute -> its values in the results.
        query: the search that the results are of.
    """
    tests = {name: f"{name}=" for name in facets}
    picked = {
        name: [one.removeprefix(test) for one in query.filter if one.startswith(test)]
        for name, test in tests.items()
    }
    others = [one for one in query.filter if not one.startswith(tuple(tests.values()))]
    groups = {"": others} if others else {}
    groups |= {
        name: _add_frequent(facets[name], values) for name, values in picked.items() if values
    }
    shared = [name for name in facets if not picked[name] and _is_shared(facets[name])]
    free = max(_MOST_GROUPS - len(groups), 0)
    return groups | {name: _add_frequent(facets[name], []) for name in shared[:free]}


def _add_frequent(facet: Facet, picked: list[str]) -> list[str]:
    values = [*picked, *(one for one in facet.values if _is_word(one) and one not in picked)]
    return values[: max(_MOST_LINKS, len(picked))]


def _is_shared(facet: Facet) -> bool:
    counts = [count for value, count in facet.values.items() if _is_word(value)]
    return len(counts) > 1 and sum(counts) >= _LEAST_SHARED * len(counts)


def _is_word(value: str) -> bool:
    return len(value) <= _MOST_CHARS and "://" not in value and "|" not in value


def choose_numbers(sort_names: Sequence[str]) -> tuple[str, ...]:
    """The attributes to order by that are offered, of all that lists can be ordered by."""
    return tuple(name for name in sort_names if name != AVAILABLE_FROM)[:_ASKED]


def choose_orders(
    sort_names: Sequence[str], facets: Mapping[str, Facet], query: PageQuery
) -> dict[str, str]:
    """The orders of a search, as the engine reads them -> as shown; none if there is only its own.

    Args:
        sort_names: all that lists can be ordered by.
        facets: attribute -> its values in the results; one that all results share is no order.
        query: the search that the results are of.
    """
    values = [_NEWEST] if AVAILABLE_FROM in sort_names else []
    for name in choose_numbers(sort_names):
        if name in facets and facets[name].min != facets[name].max:
            values += [name, f"{DESCENDING}{name}"]
    if query.sort and query.sort not in values:
        values.append(query.sort)
    own = {"": "Best match" if query.q.strip() else "Recommended"} if values else {}
    return own | {value: _describe(value) for value in values}


def _describe(value: str) -> str:
    if value in _LABELS:
        return _LABELS[value]
    name = value.removeprefix(DESCENDING).replace("_", " ").capitalize()
    return f"{name}, {'highest' if value.startswith(DESCENDING) else 'lowest'} first"
