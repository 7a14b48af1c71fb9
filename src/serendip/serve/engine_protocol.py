"""The engine's interface as the HTTP service uses it.

Implemented by ``serendip.engine.engine.Engine`` and, in tests, by a small in-memory engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from serendip.content.posted_media import FileProblem
from serendip.data import Event, Item
from serendip.data.users.user import User
from serendip.engine.answer import Answer, ChosenItem, Explanation, ItemFile, Suggestions
from serendip.engine.artefacts.erasure import ErasureReceipt
from serendip.engine.artefacts.quality_report import QualityReport
from serendip.engine.explanations.labels import Labels
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.request import Request
from serendip.errors import SerendipError


class EngineProtocol(Protocol):
    """One loaded generation. Thread-safe; each call takes a few milliseconds."""

    @property
    def generation(self) -> str:
        """Name of the generation, such as ``gen-3``."""
        ...

    @property
    def labels(self) -> Labels:
        """Readable labels for the names of score parts and sources in answers."""
        ...

    @property
    def pictures(self) -> ItemPictures:
        """Pictures of items, for the page."""
        ...

    @property
    def report(self) -> QualityReport:
        """The report on the quality of the engine, for the page."""
        ...

    @property
    def attribute_names(self) -> Sequence[str]:
        """Names of the attributes that items have."""
        ...

    def sort_names(self, surface: str) -> Sequence[str]:
        """What lists of a surface can be ordered by, the most wanted first; nothing where it sells
        positions.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        ...

    @property
    def units(self) -> Mapping[str, str]:
        """Attribute -> unit of its numbers, for the page."""
        ...

    def is_code(self, attribute: str) -> bool:
        """Whether an attribute holds ids or codes, which tell people nothing of an item."""
        ...

    def recommend(self, request: Request) -> Answer:
        """Rank items for a request of any surface, best first.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
            UnknownItemError: an item of the request is not in the catalogue.
        """
        ...

    def fall_back(self, request: Request, with_content: bool = True) -> Answer:
        """Answer at once from less than ``recommend`` needs, if that failed or takes too long.

        Args:
            request: to answer.
            with_content: whether the content of items is read; if not, less is needed.

        Raises:
            LateError: nothing is known of the request without content.
            UnsupportedError, UnknownItemError, DataError: as ``recommend``.
        """
        ...

    def has_popular_rung(self, request: Request) -> bool:
        """Whether ``fall_back`` has an answer without content.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        ...

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        """The input that a surface requires.

        Raises:
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        ...

    def suggest(self, request: Request) -> Suggestions:
        """Suggest queries, best first: completions of the text, or next queries if it is blank."""
        ...

    def explain(self, request: Request, item_id: str) -> Explanation:
        """Explain why an item would be shown for a request.

        Raises:
            UnknownItemError: the item is not in the catalogue.
            UnsupportedError: the surface is not configured; the hint lists those that are.
        """
        ...

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events durably and return the number of new ones.

        Raises:
            UnsupportedError: an event names an unconfigured surface; none is stored.
        """
        ...

    def add_event_groups(self, groups: Iterable[Sequence[Event]]) -> Sequence[int | SerendipError]:
        """Store groups of events in one transaction, each as ``add_events`` does.

        A group is asked for once those before it are written. Where one is refused, its error is in
        the place of the number.
        """
        ...

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items durably and serve them at once; return the number of new ones."""
        ...

    def find_file_problems(self, items: Sequence[Item]) -> Sequence[FileProblem]:
        """Pictures and sounds of items that cannot be used, found without opening the files."""
        ...

    def files(self, item: Item) -> Mapping[str, ItemFile]:
        """Modality -> state of the file that an item names; empty if it names none."""
        ...

    def delete_item(self, item_id: str) -> bool:
        """Delete an item permanently; False if it does not exist."""
        ...

    def erase_user(self, user_id: str) -> ErasureReceipt:
        """Erase a user durably; no answer that begins after this knows anything about them."""
        ...

    def catch_up(self) -> None:
        """Apply items stored or deleted by other engines since the last call; idempotent."""
        ...

    def follow_items(self) -> None:
        """The part of ``catch_up`` that others must obey soon; cheap if nothing was written."""
        ...

    @property
    def item_version(self) -> int:
        """Version of the store's items that answers know; a write raises it before it returns."""
        ...

    def unknown_items(self, item_ids: Iterable[str]) -> list[str]:
        """Those of some ids that no item has, each once, at most ten."""
        ...

    def item(self, item_id: str) -> Item | None:
        """The item; None if it is unknown, deleted or not available yet."""
        ...

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        """Semantic ID of an item, coarse to fine; empty if it is unknown."""
        ...

    def code_label(self, item_id: str) -> str:
        """Common attributes of the items with the same first code, such as ``Horror, Thriller``."""
        ...

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """The most active users with their number of events, impressions not counted."""
        ...

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """Events of a user without impressions, newest first."""
        ...

    def user(self, user_id: str) -> User:
        """A user with their attributes; without any if nothing is stored about them."""
        ...

    def put_user(self, user: User) -> None:
        """Store the attributes of a user durably, in place of all earlier ones."""
        ...

    def chosen(self, user_id: str, limit: int = 50) -> list[ChosenItem]:
        """Distinct items that a user chose and has not rejected since, newest first."""
        ...

    def stats(self) -> Mapping[str, int | float | str]:
        """Statistics for the page's footer and ``/metrics``, from memory without the database.

        Events written by other processes count once this engine has read them.
        """
        ...

    def storage_problem(self) -> str:
        """Why a write would fail now, found within milliseconds without writing; empty = none."""
        ...

    def close(self) -> None:
        """Release files and threads; no calls may follow."""
        ...
