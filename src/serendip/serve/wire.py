"""Bodies and parameters as they come in: their names, types and limits.

The same model reads the parameters of a GET and the body of the POST beside it, so both accept
exactly the same names. Unknown names are errors.
"""

from __future__ import annotations

from pydantic import Field

from serendip.errors import DataError
from serendip.serve.fields import Count, Cursor, Flag, Id, Ids, OptionalId, Text, Wire


class PathId(Wire):
    """An id that is part of a path."""

    id: Id
    """The id."""


class _Page(Wire):
    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    k: Count = 10
    """How many items, 1 to 1,000."""

    cursor: Cursor = ""
    """``next`` of the answer before."""

    country: OptionalId = ""
    """Where the request comes from, in the words of the items; empty = unknown."""


class SearchQuery(_Page):
    """A search."""

    q: Text = ""
    """What was typed."""

    literal: Flag = False
    """Search it as it was typed, whatever may have been meant."""


class RecommendQuery(_Page):
    """A request for recommendations."""

    surface: Id = "home"
    """Where the answer will be shown: a built-in name or one of the settings."""

    item_id: Ids = Field(default=[])
    """Items in context: the one looked at, the cart. May be repeated."""

    q: Text = ""
    """What was typed, for a surface that searches."""

    literal: Flag = False
    """Search it as it was typed, whatever may have been meant."""

    def require_context(self, needs: str) -> None:
        """Refuse a request without what its surface is about.

        Args:
            needs: what the engine says of the surface: ``query``, ``items`` or nothing.

        Raises:
            DataError: the item or the text is missing; the hint names it.
        """
        if needs == "query" and not self.q.strip():
            raise DataError(
                f"q is missing: the surface {self.surface!r} needs what was typed.",
                "Add q=WORDS, or ask /v1/search.",
            )
        if needs == "items" and not self.item_id:
            raise DataError(
                f"item_id is missing: the surface {self.surface!r} needs an item in context.",
                "Add item_id=ID; it may be repeated.",
            )


class SimilarQuery(_Page):
    """A request for items like one item."""


class SuggestQuery(Wire):
    """A request for query suggestions."""

    q: Text = ""
    """What was typed so far; blank asks for what to search next."""

    user_id: OptionalId = ""
    """Who asks; empty for an unknown visitor."""

    after: Text = ""
    """What was searched on the page that they are for, where nothing is typed."""

    k: Count = 8
    """How many suggestions."""


class ExplainQuery(Wire):
    """A question why an item would be shown."""

    item_id: Id
    """The item to explain."""

    surface: Id = "home"
    """Where it would be shown."""

    user_id: OptionalId = ""
    """To whom; empty for an unknown visitor."""

    q: Text = ""
    """What was typed, for a surface that searches."""

    literal: Flag = False
    """Whether it was searched as it was typed."""

    source_item_id: Ids = Field(default=[])
    """Items in context. May be repeated."""

    country: OptionalId = ""
    """Where the request would come from."""


class UsersQuery(Wire):
    """How many known users or events to list."""

    limit: Count = 50
    """At most this many."""
