"""Builds the template values of each page: cards, messages above search results, labels.

No HTML and no HTTP here: a view takes the engine and the parameters of the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from serendip.data import Event, Item
from serendip.data.text import normalise
from serendip.engine.answer import Answer, ChosenItem, Evidence
from serendip.engine.request import Request
from serendip.errors import UnknownItemError
from serendip.serve.api.routes import require_public, unknown_item_error
from serendip.serve.page.cards import (
    Card,
    Context,
    build_card,
    build_cards,
    build_chips,
    build_cover,
    format_number,
    item_link,
    select_liked_ids,
    shown_attributes,
    summarise_attributes,
)
from serendip.serve.page.facets import ASKED, build_facets
from serendip.serve.page.filtered_search import FilteredSearch
from serendip.serve.page.params import PageQuery
from serendip.serve.page.sort_orders import build_sort_orders, choose_numbers

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class SearchMessage:
    """One sentence above search results: text, linked text, text; ``before`` alone has no link."""

    before: str
    text: str = ""
    link: str = ""
    after: str = ""


def search_messages(answer: Answer, search: FilteredSearch) -> list[SearchMessage]:
    """Build the messages about corrections, alternatives and unknown words."""
    feedback = answer.understood
    if feedback is None:
        return []
    messages = []
    if feedback.similar_to:
        literally = search.reword(search.text, literal=True)
        before = "These are similar to what you named. Search for the words “"
        messages.append(SearchMessage(before, search.text, literally, "”?"))
    if feedback.is_corrected:
        literally = search.reword(search.text, literal=True)
        before = f"This is what “{feedback.searched}” finds. Search only for “"
        messages.append(SearchMessage(before, search.text, literally, "”?"))
    if feedback.did_you_mean:
        link = search.reword(feedback.did_you_mean)
        messages.append(SearchMessage("Did you mean “", feedback.did_you_mean, link, "”?"))
    if feedback.by_meaning:
        messages.append(
            SearchMessage("Nothing here has these words. What follows is close in meaning.")
        )
    elif feedback.unknown and answer.items:
        words = ", ".join(f"“{word}”" for word in feedback.unknown)
        messages.append(SearchMessage(f"Nothing here has {words}; the other words were searched."))
    return messages


@dataclass(frozen=True, slots=True)
class AlternativeSearch:
    """A link to another search."""

    text: str
    link: str


def alternative_searches(answer: Answer | None, search: FilteredSearch) -> list[AlternativeSearch]:
    """Build links to broader and substitute queries; narrower ones are shown as chips."""
    rewrites = answer.understood.rewrites if answer and answer.understood else ()
    return [
        AlternativeSearch(rewrite.text, search.reword(rewrite.text))
        for rewrite in rewrites
        if rewrite.kind != "narrower"
    ]


_FEED_ITEMS = 18
_FOUND_ITEMS = 24
_ROW_ITEMS = 12
_BECAUSE_ROWS = 2
_HISTORY_SHOWN = 60
_RECENT_ITEMS = 12
_CHIPS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of cards; ``anchor`` is the title of the item that it follows from, if any."""

    title: str
    cards: list[Card]
    anchor: str = ""
    anchor_link: str = ""


def feed(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the feed: recommendations, rows for recent choices, and the history."""
    history = engine.history(query.user, _HISTORY_SHOWN)
    chosen = engine.chosen(query.user, _HISTORY_SHOWN)
    context = Context(query.user, query.surface, liked=select_liked_ids(chosen))
    answer = engine.recommend(Request(query.surface, query.user, k=_FEED_ITEMS))
    chips = engine.suggest(Request(user_id=query.user, k=_CHIPS, language=query.language))
    return _frame(engine, query, history) | {
        "cards": build_cards(engine, answer, context),
        "more_link": _more_link(answer, context, _FEED_ITEMS, query),
        "chips": build_chips(chips, FilteredSearch("", query.user)),
        "rows": _because_rows(engine, query.user, chosen, context.liked),
        "recent": _recent(engine, chosen, context),
        "degraded": [engine.labels.component(name) for name in answer.degraded],
        "is_new": not history,
    }


def search(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the search results and suggested queries.

    If nothing was found these are completions, and where there are none what to search instead.
    """
    history = engine.history(query.user, _HISTORY_SHOWN)
    query = _drop_order(engine, query, "search")
    require_public(engine, query.filter, query.sort)
    orders = [name for name in engine.sort_names("search") if engine.is_public(name)]
    context = _search_context(engine, query, "search")
    searched = read_search(query)
    words, answer = searched.text, None
    if words or query.filter:
        answer = engine.recommend(_search_request(engine, searched, orders))
    cards = build_cards(engine, answer, context) if answer else []
    typed = words if words and not cards else ""
    instead = alternative_searches(answer, searched)
    wanted = Request(
        *("home", query.user, typed),
        k=_CHIPS,
        after=words,
        language=query.language,
        filters=context.filters,
    )
    suggested = engine.suggest(wanted)
    if typed and not suggested.queries:
        suggested = engine.suggest(replace(wanted, text=""))
    chips = build_chips(suggested, searched)
    chosen = (value for test in searched.value_tests for value in test.values)  # found already
    shown = {normalise(text) for text in (*chosen, *(one.text for one in instead))}
    facets = answer.facets if answer else {}
    return _frame(engine, query, history) | {
        "cards": cards,
        "more_link": _more_link(answer, context, _FOUND_ITEMS, query) if answer else "",
        "facets": build_facets(facets, searched) if answer else [],
        "search": searched,
        "orders": build_sort_orders(orders, facets, searched) if cards else [],
        "chips": [chip for chip in chips if normalise(chip.text) not in shown],
        "degraded": [engine.labels.component(name) for name in answer.degraded] if answer else [],
        "messages": search_messages(answer, searched) if answer else [],
        "instead": instead,
        "failed_request": answer.request_id if answer and _has_failed(answer, query) else "",
    }


def read_search(query: PageQuery) -> FilteredSearch:
    """The search that the parameters of a page ask for."""
    filters = tuple(query.filter)
    return FilteredSearch(query.q.strip(), query.user, filters, query.literal, query.sort)


def _drop_order(engine: Engine, query: PageQuery, surface: str) -> PageQuery:
    """The parameters without an order where a surface has none to choose: a link may be older than
    the setting that sells its positions.
    """
    if not query.sort or engine.sort_names(surface):
        return query
    return query.model_copy(update={"sort": ""})


def _search_context(engine: Engine, query: PageQuery, surface: str) -> Context:
    """What the links of results carry."""
    liked = select_liked_ids(engine.chosen(query.user, _HISTORY_SHOWN))
    return Context(
        *(query.user, surface, query.q),
        liked=liked,
        literal=query.literal,
        filters=tuple(query.filter),
        sort=query.sort,
    )


def _search_request(engine: Engine, searched: FilteredSearch, orders: Sequence[str]) -> Request:
    """The request for results, with the values to filter and to order them by."""
    facets = dict.fromkeys((*_list_facets(engine), *choose_numbers(orders)))
    return Request(
        *("search", searched.user_id, searched.text),
        literal=searched.literal,
        k=_FOUND_ITEMS,
        filters=searched.filters,
        facets=tuple(facets),
        sort=searched.sort,
    )


def _list_facets(engine: Engine) -> tuple[str, ...]:
    """The first attributes that people may choose by: nobody does by ids and codes."""
    names = (
        name
        for name in engine.attribute_names
        if not engine.is_code(name) and engine.is_public(name)
    )
    return tuple(islice(names, ASKED))


def _has_failed(answer: Answer, query: PageQuery) -> bool:
    """Whether a whole search found nothing: not one that stages or filters cut short."""
    return not answer.items and not answer.degraded and not query.filter


def more(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the next part of a feed or of search results."""
    history = engine.history(query.user, _HISTORY_SHOWN)
    query = _drop_order(engine, query, query.surface)
    require_public(engine, query.filter, query.sort)
    context = _search_context(engine, query, query.surface)
    answer = engine.recommend(
        Request(
            *(query.surface, query.user, query.q),
            literal=query.literal,
            k=_FOUND_ITEMS,
            cursor=query.cursor,
            filters=context.filters,
            sort=query.sort,
        )
    )
    return _frame(engine, query, history) | {
        "cards": build_cards(engine, answer, context, query.first),
        "more_link": _more_link(answer, context, query.first + _FOUND_ITEMS, query),
    }


def item(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the page of one item: attributes, semantic ID, similar items.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = engine.item(query.item_id)
    if found is None:
        raise unknown_item_error(query.item_id)
    history = engine.history(query.user, _HISTORY_SHOWN)
    chosen = engine.chosen(query.user, _HISTORY_SHOWN)
    context = Context(query.user, "similar", source=query.item_id, liked=select_liked_ids(chosen))
    answer = engine.recommend(_similar(query.item_id, query.user))
    home = Context(query.user, query.surface, query.q, query.source, context.liked)
    return _frame(engine, query, history) | {
        "card": build_card(engine, found, home),
        "item": found,
        "facts": _facts(engine, found, query.user),
        "codes": engine.semantic_id(query.item_id),
        "code_label": engine.code_label(query.item_id),
        "similar": build_cards(engine, answer, context),
        "meta": summarise_attributes(engine, found),
    }


def why(engine: Engine, query: PageQuery) -> dict[str, Any]:
    """Build the explanation of an item: evidence, numbers, stages.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = engine.item(query.item_id)
    if found is None:
        raise unknown_item_error(query.item_id)
    sources = (query.source,) if query.source else ()
    surface = "search" if query.q and query.surface == "home" else query.surface
    query = _drop_order(engine, query, surface)
    require_public(engine, query.filter, query.sort)
    request = Request(
        *(surface, query.user, query.q, sources),
        literal=query.literal,
        filters=tuple(query.filter),
        sort=query.sort,
    )
    explanation = engine.explain(request, query.item_id)
    history = engine.history(query.user, _HISTORY_SHOWN)
    parts = {name: value for name, value in explanation.parts.items() if math.isfinite(value)}
    labels = engine.labels
    widest = max(explanation.trace.values(), default=1) or 1
    return _frame(engine, query, history) | {
        "card": build_card(engine, found, Context(query.user, surface)),
        "grounds": [_ground(engine, one, query.user) for one in explanation.evidence],
        "parts": [(labels.number(name), value) for name, value in parts.items()],
        "stages": [
            (labels.stage(name), count, _percent(count / widest))
            for name, count in explanation.trace.items()
        ],
        "semantic_id": explanation.semantic_id,
        "code_label": engine.code_label(query.item_id),
        "position": explanation.position,
        "absence": explanation.absence if explanation.position is None else None,
        "surface": surface,
    }


def _frame(engine: Engine, query: PageQuery, history: list[Event]) -> dict[str, Any]:
    """Build the values of the frame around every page."""
    return {
        "num_events": len(history),
        "has_more_events": len(history) == _HISTORY_SHOWN,
        "stats": engine.stats(),
        "q": query.q,
    }


def _because_rows(
    engine: Engine, user_id: str, chosen: Sequence[ChosenItem], liked: frozenset[str]
) -> list[Row]:
    """Build a row of similar items for each of the newest choices, likes first."""
    newest = [one.item_id for one in chosen]
    newest.sort(key=lambda item_id: item_id not in liked)
    rows: list[Row] = []
    for item_id in newest[: 2 * _BECAUSE_ROWS]:
        anchor = engine.item(item_id)
        if anchor is None or len(rows) == _BECAUSE_ROWS:
            continue
        context = Context(user_id, "similar", source=item_id, liked=liked)
        try:
            answer = engine.recommend(_similar(item_id, user_id))
        except UnknownItemError:  # deleted since it was looked up
            continue
        verb = "liked" if item_id in liked else "chose"
        cards = build_cards(engine, answer, context)
        if cards:
            title = anchor.title or item_id
            rows.append(Row(f"Because you {verb}", cards, title, item_link(item_id, user_id)))
    return rows


def _similar(item_id: str, user_id: str) -> Request:
    return Request("similar", user_id, item_ids=(item_id,), k=_ROW_ITEMS)


def _recent(engine: Engine, chosen: Sequence[ChosenItem], context: Context) -> list[Card]:
    """Build cards of the items that the visitor chose last."""
    found: list[Card] = []
    for one in chosen:
        item = engine.item(one.item_id)
        if item is not None:
            found.append(build_card(engine, item, context))
        if len(found) == _RECENT_ITEMS:
            break
    return found


def _more_link(answer: Answer, context: Context, shown: int, query: PageQuery) -> str:
    if not answer.next or shown >= 1000:
        return ""
    values = {
        "user": context.user_id,
        "surface": context.surface,
        "cursor": answer.next,
        "first": str(shown),
    }
    if context.q:
        values["q"] = context.q
    if context.literal:
        values["literal"] = "1"
    if context.sort:
        values["sort"] = context.sort
    filters = [("filter", one) for one in query.filter]
    return f"/more?{urlencode([*values.items(), *filters])}"


def _facts(engine: Engine, found: Item, user_id: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Build (name, [(word, link to a search for it)]) of each attribute; numbers have no link."""
    facts = []
    for name, value in shown_attributes(engine, found).items():
        words = list(value) if isinstance(value, tuple) else [found.field_text(name)]
        if isinstance(value, float) and (unit := engine.units.get(name)):
            words = [format_number(value, unit)]
        linked = isinstance(value, tuple)
        label = name.replace("_", " ").capitalize()
        facts.append(
            (
                f"{label} (generated)" if name in found.generated_attributes else label,
                [
                    (
                        word,
                        f"/search?{urlencode({'q': word, 'user': user_id})}" if linked else "",
                    )
                    for word in words
                    if word
                ],
            )
        )
    return [(name, words) for name, words in facts if words]


def _ground(engine: Engine, one: Evidence, user_id: str) -> dict[str, Any]:
    anchor = engine.item(one.item_id) if one.item_id else None
    return {
        "kind": one.kind,
        "text": one.text,
        "cover": build_cover(engine, anchor) if anchor else None,
        "link": item_link(one.item_id, user_id) if anchor else "",
    }


def _percent(share: float) -> int:
    """Convert a share in [0, 1] to whole per cent."""
    return max(0, min(100, round(share * 100)))
