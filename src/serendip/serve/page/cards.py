"""Builds what the templates show: items as cards, suggested queries as chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from markupsafe import Markup

from serendip.data import Item
from serendip.data.items.catalogue import Attribute
from serendip.engine.answer import Answer, ChosenItem, Suggestions
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.stages.exploration import PROPENSITY
from serendip.serve.page.covers import choose_palette, draw_cover
from serendip.serve.page.filtered_search import FilteredSearch

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_MAX_META_CHARS = 60
"""Characters of words beside a title; longer texts are for the page of the item."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A drawn cover, and the picture that is laid over it if the item has one.

    Args:
        art: SVG markup of our own making.
        classes: of the frame around it.
        title: set over the art; a long one is set smaller.
        picture: address of the item's own picture; empty if it has none.
    """

    art: Markup
    classes: str
    title: str
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One item as shown in a row or grid.

    Args:
        item_id: external id.
        title: as shown.
        meta: one quiet line, ``1999 · Action, Sci-Fi``.
        reason: why it is shown; empty if there is no reason.
        cover: the cover.
        href: link to the item's page.
        why: link to the page that explains it.
        is_liked: True if the visitor has liked it.
        request_id: id of the answer; empty outside an answer.
        surface: the surface it is shown on.
        position: 0-based position in the answer.
        is_sponsored: True if the position was bought.
        propensity: probability with which it was drawn for its position; None = it was not drawn.
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
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Chip:
    """A suggested query above the items.

    Args:
        text: as shown.
        href: where it links to.
        request_id: id of the answer.
        position: 0-based position in the answer.
        propensity: probability of being shown there; sent back with its events.
    """

    text: str
    href: str
    request_id: str
    position: int
    propensity: float


@dataclass(frozen=True, slots=True)
class Context:
    """The request behind a list of cards; their links carry it.

    Args:
        user_id: the visitor.
        surface: the surface of the request.
        q: text of the search.
        source: the item in context; empty if there is none.
        liked: ids of the items that the visitor liked.
        literal: True if ``q`` was searched without corrections.
        filters: that the items pass, as written.
        sort: their order, as the engine reads it; empty = that of the engine.
    """

    user_id: str
    surface: str
    q: str = ""
    source: str = ""
    liked: frozenset[str] = frozenset()
    literal: bool = False
    filters: tuple[str, ...] = ()
    sort: str = ""


def build_cards(engine: Engine, answer: Answer, context: Context, first: int = 0) -> list[Card]:
    """Build the cards of an answer, in its order; items deleted since are left out."""
    cards = []
    for position, entry in enumerate(answer.items, start=first):
        item = engine.item(entry.item_id)
        if item is not None:
            card = build_card(engine, item, context, entry.reason, answer.request_id, position)
            drawn = entry.parts.get(PROPENSITY)
            cards.append(replace(card, is_sponsored=entry.sponsored, propensity=drawn))
    return cards


def build_chips(suggestions: Suggestions, search: FilteredSearch) -> list[Chip]:
    """Build chips of suggested queries; one about an item links to its similar items.

    Args:
        suggestions: with the filters of the page.
        search: of the page, whose filters and order the others keep.
    """
    chips = []
    for position, suggestion in enumerate(suggestions.queries):
        href = search.reword(suggestion.text)
        if suggestion.kind == "like" and suggestion.item_id:
            href = f"{item_link(suggestion.item_id, search.user_id)}#similar"
        chips.append(
            Chip(suggestion.text, href, suggestions.request_id, position, suggestion.propensity)
        )
    return chips


def build_card(
    engine: Engine,
    item: Item,
    context: Context,
    reason: str = "",
    request_id: str = "",
    position: int = 0,
) -> Card:
    """Build the card of one item."""
    return Card(
        item.item_id,
        item.title or item.item_id,
        summarise_attributes(engine, item),
        reason,
        build_cover(engine, item),
        item_link(item.item_id, context.user_id),
        _why_link(item.item_id, context),
        item.item_id in context.liked,
        request_id,
        context.surface,
        position,
    )


def build_cover(engine: Engine, item: Item) -> Cover:
    """Build the cover of one item."""
    codes = engine.semantic_id(item.item_id)
    title = item.title or item.item_id
    tone = "on-dark" if choose_palette(codes).is_dark else "on-light"
    classes = f"cover {tone} {_title_size(title)}"
    picture = picture_link(engine.pictures, item)
    if picture:
        classes += " has-picture"
    return Cover(Markup(draw_cover(item.item_id, codes)), classes, title, picture)


def picture_link(pictures: ItemPictures, item: Item) -> str:
    """Address of an item's own picture, which may fail to load; empty if it has none."""
    if pictures.names_file(item):
        return f"/media/items/{quote(item.item_id, safe='')}"
    return pictures.remote_address(item)


def _title_size(title: str) -> str:
    """Choose the CSS class of the font size at which no word of a title breaks."""
    longest = max(map(len, title.split()), default=0)
    if longest > 14:
        return "is-longest"
    if len(title) > 26 or longest > 11:
        return "is-long"
    return "is-short" if len(title) <= 10 and longest <= 8 else "is-middling"


def shown_attributes(engine: Engine, item: Item) -> Mapping[str, Attribute]:
    """Attributes of an item that people see, without the name of its picture, which is shown."""
    hidden = engine.pictures.attribute
    return {
        name: value
        for name, value in item.attributes.items()
        if name != hidden and engine.is_public(name)
    }


def summarise_attributes(engine: Engine, item: Item) -> str:
    """The first number and the first short words of an item in one line, ``1999 · Drama``.

    Ids and codes are left out.
    """
    attributes = shown_attributes(engine, item).items()
    numbers = (
        format_number(value, engine.units.get(name, ""))
        for name, value in attributes
        if isinstance(value, float) and not engine.is_code(name)
    )
    words = (
        item.field_text(name)
        for name, value in attributes
        if _are_words(value) and not engine.is_code(name)
    )
    parts = (*islice(numbers, 1), *islice(words, 1))
    return " · ".join(parts)


def _are_words(value: Attribute) -> bool:
    """Whether a value is for people to read: no number, link or long text."""
    first = value[0] if isinstance(value, tuple) and value else value
    return isinstance(first, str) and "://" not in first and 0 < len(first) <= _MAX_META_CHARS


def format_number(number: float, unit: str = "") -> str:
    """A number for people, with its unit behind it."""
    text = f"{number:.0f}" if number.is_integer() else f"{number:.2f}"
    return f"{text} {unit}".rstrip()


def item_link(item_id: str, user_id: str) -> str:
    """Link to an item's page for a visitor."""
    return f"/items/{quote(item_id, safe='')}?{urlencode({'user': user_id})}"


def select_liked_ids(chosen: Sequence[ChosenItem]) -> frozenset[str]:
    """Select the items that the visitor liked, by the button or by a high value."""
    return frozenset(choice.item_id for choice in chosen if choice.liked)


def _why_link(item_id: str, context: Context) -> str:
    values = {"item_id": item_id, "surface": context.surface, "user": context.user_id}
    if context.q:
        values["q"] = context.q
    if context.literal:
        values["literal"] = "1"
    if context.source:
        values["source"] = context.source
    if context.sort:
        values["sort"] = context.sort
    filters = [("filter", one) for one in context.filters]
    return f"/why?{urlencode([*values.items(), *filters])}"
