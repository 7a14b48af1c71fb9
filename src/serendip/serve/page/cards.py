"""What the templates are given: items as cards, with their cover, words and links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from markupsafe import Markup

from serendip.data import Item
from serendip.engine.answer import Answer, ChosenItem, Suggestions
from serendip.serve.engine_protocol import EngineProtocol
from serendip.serve.page.covers import cover, is_narrow, palette_of

_MAX_META_PARTS = 2


@dataclass(frozen=True, slots=True)
class Cover:
    """A drawn cover.

    Args:
        art: SVG markup of our own making.
        classes: of the frame around it.
        title: set over the art; a long one is set smaller.
    """

    art: Markup
    classes: str
    title: str


@dataclass(frozen=True, slots=True)
class Card:
    """One item as shown in a row or grid.

    Args:
        item_id: external id.
        title: as shown.
        meta: one quiet line, ``1999 · Action, Sci-Fi``.
        reason: why it is here; empty where there is no reason.
        cover: the drawn cover.
        href: its page.
        why: the page that explains it.
        is_liked: the visitor likes it already.
        request_id: the answer it belongs to; empty outside of an answer.
        surface: the surface it is shown on.
        position: 0-based place in the answer.
        is_sponsored: the place was bought.
    """

    item_id: str
    title: str
    meta: str
    reason: str
    cover: Cover
    href: str
    why: str
    is_liked: bool
    request_id: str = ""
    surface: str = ""
    position: int = 0
    is_sponsored: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """A suggested query above the items.

    Args:
        text: as shown.
        href: where it leads to.
        request_id: the answer it belongs to.
        position: 0-based place in it.
        propensity: chance that it had to be shown there; sent back with what happens to it.
    """

    text: str
    href: str
    request_id: str
    position: int
    propensity: float


@dataclass(frozen=True, slots=True)
class Context:
    """The request that a list of cards answers; it goes into their links.

    Args:
        user_id: the visitor.
        surface: the surface asked for.
        q: what was typed.
        source: the item in context; empty where there is none.
        liked: ids that the visitor likes.
        literal: ``q`` was searched as it was typed.
    """

    user_id: str
    surface: str
    q: str = ""
    source: str = ""
    liked: frozenset[str] = frozenset()
    literal: bool = False


def cards_of(
    engine: EngineProtocol, answer: Answer, context: Context, first: int = 0
) -> list[Card]:
    """Cards of an answer, in its order; items deleted meanwhile are left out."""
    found = []
    for position, entry in enumerate(answer.items, start=first):
        item = engine.item(entry.item_id)
        if item is not None:
            card = card_of(engine, item, context, entry.reason, answer.request_id, position)
            found.append(replace(card, is_sponsored=entry.sponsored))
    return found


def chips_of(found: Suggestions, user_id: str) -> list[Chip]:
    """Chips of suggested queries, in their order; one about an item leads to what is like it."""
    chips = []
    for position, one in enumerate(found.queries):
        href = f"/search?{urlencode({'q': one.text, 'user': user_id})}"
        if one.kind == "like" and one.item_id:
            href = f"{item_link(one.item_id, user_id)}#similar"
        chips.append(Chip(one.text, href, found.request_id, position, one.propensity))
    return chips


def card_of(
    engine: EngineProtocol,
    item: Item,
    context: Context,
    reason: str = "",
    request_id: str = "",
    position: int = 0,
) -> Card:
    """The card of one item."""
    return Card(
        item.item_id,
        item.title or item.item_id,
        meta_of(item),
        reason,
        cover_of(engine, item),
        item_link(item.item_id, context.user_id),
        _why_link(item.item_id, context),
        item.item_id in context.liked,
        request_id,
        context.surface,
        position,
    )


def cover_of(engine: EngineProtocol, item: Item) -> Cover:
    """The cover of one item."""
    codes = engine.semantic_id(item.item_id)
    title = item.title or item.item_id
    tone = "on-dark" if palette_of(codes).is_dark else "on-light"
    narrow = is_narrow(codes)
    classes = ("cover", tone, *(("is-narrow",) if narrow else ()), _length_of(title, narrow))
    return Cover(Markup(cover(item.item_id, codes)), " ".join(classes), title)


def _length_of(title: str, narrow: bool) -> str:
    """The class that sets a title small enough for its cover: no word may break."""
    longest = max(map(len, title.split()), default=0)
    if longest > (12 if narrow else 14):
        return "is-longest"
    if len(title) > 26 or longest > (8 if narrow else 11):
        return "is-long"
    return "is-short" if len(title) <= 10 and longest <= 8 else "is-middling"


def meta_of(item: Item) -> str:
    """The first attributes of an item in one quiet line, numbers first."""
    names = sorted(item.attributes, key=lambda name: not isinstance(item.attributes[name], float))
    parts = [item.field_text(name) for name in names]
    return " · ".join([part for part in parts if part][:_MAX_META_PARTS])


def item_link(item_id: str, user_id: str) -> str:
    """Path of an item's page for a visitor."""
    return f"/items/{quote(item_id, safe='')}?{urlencode({'user': user_id})}"


def liked_ids(chosen: Sequence[ChosenItem]) -> frozenset[str]:
    """Items that the visitor liked by a button or by a high value."""
    return frozenset(one.item_id for one in chosen if one.liked)


def _why_link(item_id: str, context: Context) -> str:
    values = {"item_id": item_id, "surface": context.surface, "user": context.user_id}
    if context.q:
        values["q"] = context.q
    if context.literal:
        values["literal"] = "1"
    if context.source:
        values["source"] = context.source
    return f"/why?{urlencode(values)}"
