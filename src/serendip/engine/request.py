"""Request: the parameters of one call of the engine, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """All parameters of a request; an empty field means that the parameter is not given.

    A new parameter is a field here, sent by a model of ``serve.api.requests`` and read by
    ``QueryBuilder`` (what is asked) or by ``Engine`` and ``presenter`` (which part of the answer,
    in what form); nothing between them names it.

    Args:
        surface: name of a surface, built in or configured; suggestions do not read it.
        user_id: external id; empty for an unknown visitor.
        text: the query as typed, or its beginning if suggestions are requested.
        item_ids: external ids of the source items: the item viewed, or the cart.
        country: country of the request, spelt as in the attribute of the items; empty = that of
            the user, if it is known.
        literal: whether to search the text as typed, without correction or rewrites.
        k: maximum number of items or suggestions, at least 1.
        cursor: ``next`` of the previous answer; empty for the first page.
        after: the query of the results page that the suggestions are shown on.
        reasons: whether each item has the sentence that says why it is shown.
        parts: whether each item has the numbers that its score was computed from; without them only
            those that its events carry.
        device: kind of device of the request, spelt as in the events.
        session_id: of the visit, as the events of it carry it; empty = it is told by time.
        language: of the sentences in the answer: a tag such as ``ko``, or an ``Accept-Language``;
            English where there are none in it.
        filters: tests of attributes, all of which every item of the answer passes:
            ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``year<=2010``.
        facets: attributes whose values are counted in the whole list.
        sort: attribute whose numbers order the list, ``-price`` from the largest, or
            ``available_from``, ``-available_from`` from the newest; empty = by score.
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
    reasons: bool = True
    parts: bool = True
    device: str = ""
    session_id: str = ""
    language: str = ""
    filters: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    sort: str = ""

    @property
    def reads_whole_list(self) -> bool:
        """Whether a page of the answer depends on items of other pages."""
        return bool(self.facets or self.sort)
