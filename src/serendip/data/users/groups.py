"""Groups of users: those with the same value of an attribute, such as a plan or an age group.

Texts are values of a group; numbers, lists and the country are none. An attribute with as many
values as a name or an address has tells users apart and not groups of them; it is left out.

Shapes: U users, G values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact
from serendip.data.users.user import User
from serendip.data.vocabulary import Vocabulary

MOST_GROUPS = 256  # values of an attribute, at most
MOST_ATTRIBUTES = 16  # at most: those that most users have


@dataclass(frozen=True, slots=True, eq=False)
class Groups(Artefact):
    """The value that each user has of one attribute.

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
