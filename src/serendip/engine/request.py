"""One request to the engine, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a caller may say; an empty field says nothing.

    A new parameter is a field here, read by ``QueryBuilder.build`` and sent by a model of
    ``serve.api.requests``; nothing between them names it.

    Args:
        surface: name of a surface, built in or of the settings; suggestions do not read it.
        user_id: the user; empty for an unknown visitor.
        text: the query as typed, or its beginning where suggestions are requested.
        item_ids: items in context: the one looked at, or the cart.
        country: country of the request, in the words of the items.
        literal: search the text as typed, without correction or rewriting.
        k: at most this many items or suggestions.
        cursor: ``next`` of the previous answer.
        after: the query of the results page beside which suggestions are shown.
    """

    surface: str = "home"
    user_id: str = ""
    text: str = ""
    item_ids: tuple[str, ...] = ()
    country: str = ""
    literal: bool = False
    k: int = 10
    cursor: str = ""
    after: str = ""
