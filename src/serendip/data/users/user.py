"""Users and their attributes: what is known of a user besides their events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from serendip.data.items.attributes import Attribute

# A request without a country is taken to come from there.
COUNTRY: Final = "country"


@dataclass(frozen=True, slots=True)
class User:
    """A user with attributes.

    Args:
        user_id: external id.
        attributes: further columns: texts, numbers or lists of texts; ``country`` is a text.
    """

    user_id: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def country(self) -> str:
        """Country of the user; empty = not known."""
        country = self.attributes.get(COUNTRY, "")
        return country if isinstance(country, str) else ""

    @property
    def groups(self) -> dict[str, str]:
        """Attribute -> value that the user has in common with others: the texts but the country."""
        texts = {name: value for name, value in self.attributes.items() if isinstance(value, str)}
        return {name: value for name, value in texts.items() if value and name != COUNTRY}
