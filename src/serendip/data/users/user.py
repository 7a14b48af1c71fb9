"""Users and their attributes: what is known of a user besides their events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact
from serendip.data.items.attributes import Attribute
from serendip.data.vocabulary import Vocabulary

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


# An attribute with as many values as a name tells users apart, and not groups of them.
MOST_GROUPS = 256  # values of an attribute, at most
MOST_ATTRIBUTES = 16  # at most: those that most users have


@dataclass(frozen=True, slots=True, eq=False)
class Groups(Artefact):
    """The value that each of U users has of one attribute, of G values.

    Args:
        names: G distinct values.
        of_users: (U,) int32 index into ``names``; -1 = not known.
    """

    names: tuple[str, ...]
    of_users: IntArray

    def of_part(self, users: IntArray) -> Groups:
        """Those of some users, by number (V,)."""
        return Groups(self.names, self.of_users[users])


UserGroups: TypeAlias = Mapping[str, Groups]  # by attribute


def group_users(vocabulary: Vocabulary, users: Iterable[User]) -> dict[str, Groups]:
    """Groups of the users of a vocabulary by each attribute, in order of the attributes' names."""
    ids: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}
    for user in users:
        for name, value in user.groups.items():
            ids.setdefault(name, []).append(user.user_id)
            values.setdefault(name, []).append(value)
    wanted = Counter(
        {name: len(own) for name, own in values.items() if len(set(own)) <= MOST_GROUPS}
    )
    found = {}
    for name in sorted(name for name, _ in wanted.most_common(MOST_ATTRIBUTES)):
        names, codes = np.unique(values[name], return_inverse=True)
        numbers = vocabulary.numbers(ids[name])
        known = numbers >= 0
        of_users = np.full(len(vocabulary), -1, np.int32)
        of_users[numbers[known]] = codes.reshape(-1)[known]
        found[name] = Groups(tuple(names.tolist()), of_users)
    return found


def groups_of(groups: UserGroups, user: int) -> dict[str, str]:
    """Attribute -> value of a user by number."""
    codes = {name: int(own.of_users[user]) for name, own in groups.items()}
    return {name: groups[name].names[code] for name, code in codes.items() if code >= 0}
