"""What each page shows, as plain values for its template; no HTML and no HTTP here.

How the words of a search were read, in plain words for the page, with the way back.

What the page calls the numbers and the stages of an explanation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from serendip.data import Event, Item
from serendip.data.text import normalise
from serendip.engine.answer import Answer, ChosenItem, Evidence
from serendip.engine.request import Request
from serendip.errors import UnknownItemError
from serendip.serve.api.routes import unknown_item
from serendip.serve.engine_protocol import EngineProtocol
from serendip.serve.page.cards import (
    Card,
    Context,
    card_of,
    cards_of,
    chips_of,
    cover_of,
    item_link,
    liked_ids,
    meta_of,
)
from serendip.serve.page.params import PageQuery


@dataclass(frozen=True, slots=True)
class SearchMessage:
    """One sentence: words, a linked text, words; without a link it is the first of them alone."""

    before: str
    text: str = ""
    link: str = ""
    after: str = ""


def search_messages(answer: Answer, asked: PageQuery) -> list[SearchMessage]:
    """What was searched instead, what may have been meant, and what nothing has."""
    found = answer.understood
    if found is None:
        return []
    told = []
    if found.is_corrected:
        literally = _link(asked.q, asked.user, literal="1")
        before = f"This is what “{found.searched}” finds. Search only for “"
        told.append(SearchMessage(before, asked.q, literally, "”?"))
    if found.did_you_mean:
        link = _link(found.did_you_mean, asked.user)
        told.append(SearchMessage("Did you mean “", found.did_you_mean, link, "”?"))
    if found.by_meaning:
        told.append(
            SearchMessage("Nothing here has these words. What follows is close in meaning.")
        )
    elif found.unknown and answer.items:
        words = ", ".join(f"“{word}”" for word in found.unknown)
        told.append(SearchMessage(f"Nothing here has {words}; the other words were searched."))
    return told


@dataclass(frozen=True, slots=True)
class AlternativeSearch:
    """Another search, as a link."""

    text: str
    link: str


def alternative_searches(answer: Answer | None, asked: PageQuery) -> list[AlternativeSearch]:
    """What to try where few items have all words; what is narrower the other searches tell."""
    found = answer.understood.rewrites if answer and answer.understood else ()
    return [
        AlternativeSearch(one.text, _link(one.text, asked.user))
        for one in found
        if one.kind != "narrower"
    ]


def _link(text: str, user_id: str, **more: str) -> str:
    return f"/search?{urlencode({'q': text, 'user': user_id, **more})}"


_FEED_ITEMS = 18
_FOUND_ITEMS = 24
_ROW_ITEMS = 12
_BECAUSE_ROWS = 2
_HISTORY_SHOWN = 60
_RECENT_ITEMS = 12
_KNOWN_USERS = 40
_CHIPS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of cards; ``anchor`` is the item it follows from, empty where there is none."""

    title: str
    cards: list[Card]
    anchor: str = ""
    anchor_link: str = ""


def feed(engine: EngineProtocol, asked: PageQuery) -> dict[str, Any]:
    """For you, because you ..., and what the visitor did."""
    history = engine.history(asked.user, _HISTORY_SHOWN)
    chosen = engine.chosen(asked.user, _HISTORY_SHOWN)
    context = Context(asked.user, asked.surface, liked=liked_ids(chosen))
    answer = engine.recommend(Request(asked.surface, asked.user, k=_FEED_ITEMS))
    chips = engine.suggest(Request(user_id=asked.user, k=_CHIPS))
    return _frame(engine, asked, history) | {
        "cards": cards_of(engine, answer, context),
        "more_link": _more_link(answer, context, _FEED_ITEMS),
        "chips": chips_of(chips, asked.user),
        "rows": _because_rows(engine, asked.user, chosen, context.liked),
        "recent": _recent(engine, chosen, context),
        "degraded": [engine.labels.component(name) for name in answer.degraded],
        "is_new": not history,
    }


def search(engine: EngineProtocol, asked: PageQuery) -> dict[str, Any]:
    """What was found, and what to search next; where nothing was, how the words may go on."""
    history = engine.history(asked.user, _HISTORY_SHOWN)
    chosen = engine.chosen(asked.user, _HISTORY_SHOWN)
    liked, literal = liked_ids(chosen), asked.literal
    context = Context(asked.user, "search", asked.q, liked=liked, literal=literal)
    words = asked.q.strip()
    answer = None
    if words:
        answer = engine.recommend(
            Request("search", asked.user, words, literal=literal, k=_FOUND_ITEMS)
        )
    cards = cards_of(engine, answer, context) if answer else []
    typed = words if words and not cards else ""
    instead = alternative_searches(answer, asked)
    suggested = engine.suggest(Request(user_id=asked.user, text=typed, k=_CHIPS, after=words))
    chips = chips_of(suggested, asked.user)
    shown = {normalise(one.text) for one in instead}
    return _frame(engine, asked, history) | {
        "cards": cards,
        "more_link": _more_link(answer, context, _FOUND_ITEMS) if answer else "",
        "chips": [chip for chip in chips if normalise(chip.text) not in shown],
        "degraded": [engine.labels.component(name) for name in answer.degraded] if answer else [],
        "told": search_messages(answer, asked) if answer else [],
        "instead": instead,
    }


def more(engine: EngineProtocol, asked: PageQuery) -> dict[str, Any]:
    """The next part of a feed or of what was found."""
    history = engine.history(asked.user, _HISTORY_SHOWN)
    chosen = engine.chosen(asked.user, _HISTORY_SHOWN)
    liked, literal = liked_ids(chosen), asked.literal
    context = Context(asked.user, asked.surface, asked.q, liked=liked, literal=literal)
    answer = engine.recommend(
        Request(
            asked.surface,
            asked.user,
            asked.q,
            literal=literal,
            k=_FOUND_ITEMS,
            cursor=asked.cursor,
        )
    )
    return _frame(engine, asked, history) | {
        "cards": cards_of(engine, answer, context, asked.first),
        "more_link": _more_link(answer, context, asked.first + _FOUND_ITEMS),
    }


def item(engine: EngineProtocol, asked: PageQuery) -> dict[str, Any]:
    """One item with its attributes, its codes and what is like it.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = engine.item(asked.item_id)
    if found is None:
        raise unknown_item(asked.item_id)
    history = engine.history(asked.user, _HISTORY_SHOWN)
    chosen = engine.chosen(asked.user, _HISTORY_SHOWN)
    context = Context(asked.user, "similar", source=asked.item_id, liked=liked_ids(chosen))
    answer = engine.recommend(_similar(asked.item_id, asked.user))
    home = Context(asked.user, asked.surface, asked.q, asked.source, context.liked)
    return _frame(engine, asked, history) | {
        "card": card_of(engine, found, home),
        "item": found,
        "facts": _facts(found, asked.user),
        "codes": engine.semantic_id(asked.item_id),
        "code_label": engine.code_label(asked.item_id),
        "similar": cards_of(engine, answer, context),
        "meta": meta_of(found),
    }


def why(engine: EngineProtocol, asked: PageQuery) -> dict[str, Any]:
    """The evidence for an item, then the numbers, then the stages.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    found = engine.item(asked.item_id)
    if found is None:
        raise unknown_item(asked.item_id)
    sources = (asked.source,) if asked.source else ()
    surface = "search" if asked.q and asked.surface == "home" else asked.surface
    request = Request(surface, asked.user, asked.q, sources, literal=asked.literal)
    told = engine.explain(request, asked.item_id)
    history = engine.history(asked.user, _HISTORY_SHOWN)
    parts = {name: value for name, value in told.parts.items() if math.isfinite(value)}
    labels = engine.labels
    widest = max(told.trace.values(), default=1) or 1
    return _frame(engine, asked, history) | {
        "card": card_of(engine, found, Context(asked.user, surface)),
        "grounds": [_ground(engine, one, asked.user) for one in told.evidence],
        "parts": [(labels.number(name), value) for name, value in parts.items()],
        "stages": [
            (labels.stage(name), count, _percent(count / widest))
            for name, count in told.trace.items()
        ],
        "semantic_id": told.semantic_id,
        "code_label": engine.code_label(asked.item_id),
        "position": told.position,
        "surface": surface,
    }


def _frame(engine: EngineProtocol, asked: PageQuery, history: list[Event]) -> dict[str, Any]:
    """What every page has around it."""
    known_users = engine.users(_KNOWN_USERS)  # looks at the log, whose events `stats` then counts
    return {
        "known_users": known_users,
        "num_events": len(history),
        "has_more_events": len(history) == _HISTORY_SHOWN,
        "stats": engine.stats(),
        "q": asked.q,
    }


def _because_rows(
    engine: EngineProtocol, user_id: str, chosen: Sequence[ChosenItem], liked: frozenset[str]
) -> list[Row]:
    """One row for each of the newest items that has something like it, likes first."""
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
        cards = cards_of(engine, answer, context)
        if cards:
            title = anchor.title or item_id
            rows.append(Row(f"Because you {verb}", cards, title, item_link(item_id, user_id)))
    return rows


def _similar(item_id: str, user_id: str) -> Request:
    return Request("similar", user_id, item_ids=(item_id,), k=_ROW_ITEMS)


def _recent(engine: EngineProtocol, chosen: Sequence[ChosenItem], context: Context) -> list[Card]:
    """The items that the visitor chose last."""
    found: list[Card] = []
    for one in chosen:
        item = engine.item(one.item_id)
        if item is not None:
            found.append(card_of(engine, item, context))
        if len(found) == _RECENT_ITEMS:
            break
    return found


def _more_link(answer: Answer, context: Context, shown: int) -> str:
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
    return f"/more?{urlencode(values)}"


def _facts(found: Item, user_id: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """(name, [(word, link to a search for it)]) of every attribute; numbers have no link."""
    facts = []
    for name, value in found.attributes.items():
        words = list(value) if isinstance(value, tuple) else [found.field_text(name)]
        linked = isinstance(value, tuple)
        facts.append(
            (
                name.replace("_", " ").capitalize(),
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


def _ground(engine: EngineProtocol, one: Evidence, user_id: str) -> dict[str, Any]:
    anchor = engine.item(one.item_id) if one.item_id else None
    return {
        "kind": one.kind,
        "text": one.text,
        "cover": cover_of(engine, anchor) if anchor else None,
        "link": item_link(one.item_id, user_id) if anchor else "",
    }


def _percent(share: float) -> int:
    """A share in [0, 1] in whole percent."""
    return max(0, min(100, round(share * 100)))
