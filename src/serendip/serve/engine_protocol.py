"""What the service needs from an engine: the seam between HTTP and everything that answers.

The engine of ``serendip.engine`` fulfils it; tests use a small one that lives in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from serendip.data import Event, Item
from serendip.engine.answer import Answer, ChosenItem, Explanation, Suggestions
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.labels import Labels
from serendip.engine.request import Request


class EngineProtocol(Protocol):
    """One generation, open for requests. Thread-safe; each call takes a few milliseconds."""

    @property
    def generation(self) -> str:
        """Name of the generation that answers, ``gen-3``."""
        ...

    @property
    def labels(self) -> Labels:
        """Words for people for the names of numbers and sources in its answers."""
        ...

    @property
    def pictures(self) -> ItemPictures:
        """Pictures of items, for the page."""
        ...

    def recommend(self, request: Request) -> Answer:
        """Items for a request of any surface, in order.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
            UnknownItemError: an item of the request is not in the catalogue.
        """
        ...

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        """What requests of a surface must have.

        Raises:
            UnsupportedError: no surface is called so; the hint has those that are.
        """
        ...

    def suggest(self, request: Request) -> Suggestions:
        """Queries worth typing, best first: completions of the text, or what to search next."""
        ...

    def explain(self, request: Request, item_id: str) -> Explanation:
        """Why an item would be shown to this request.

        Raises:
            UnknownItemError: the item is not in the catalogue.
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        ...

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; durable when it returns. The number of new ones.

        Raises:
            UnsupportedError: one names a surface that there is not; then none is stored.
        """
        ...

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items; durable, findable and recommendable when it returns."""
        ...

    def delete_item(self, item_id: str) -> bool:
        """Take an item out for good; False where it was not there."""
        ...

    def catch_up(self) -> None:
        """Read the items that others have stored or deleted since it last looked; idempotent."""
        ...

    def item(self, item_id: str) -> Item | None:
        """One item, None where it is unknown, deleted or not available yet."""
        ...

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        """Codes of an item, coarse to fine; empty where it is unknown."""
        ...

    def code_label(self, item_id: str) -> str:
        """What the items of its first code have in common, ``Horror, Thriller``."""
        ...

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """The most active known users with the number of things they did."""
        ...

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """What a user did, newest first; what was only shown is no part of it."""
        ...

    def chosen(self, user_id: str, limit: int = 50) -> list[ChosenItem]:
        """Items that a user chose and did not reject since, each once, the last one first."""
        ...

    def stats(self) -> Mapping[str, int | float | str]:
        """Counts for the foot of the page and for ``/metrics``, as they are in memory.

        Of events it counts those that it has written or read of; it asks no database for more.
        """
        ...

    def storage_problem(self) -> str:
        """Why a write would fail now, in milliseconds and without trying one; empty = nothing."""
        ...

    def close(self) -> None:
        """Let go of files and threads; nobody asks again."""
        ...
