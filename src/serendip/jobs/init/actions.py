"""What the actions of an events file say: likes, rejections, or mere contact, guessed by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from serendip.data.events.event import ActionRules, Exclusion
from serendip.files.names import fold, names

_REACH: Mapping[Exclusion, str] = MappingProxyType(
    {
        "everywhere": "negative: the item is never shown to that user again",
        "recommendations": "negative: the item is not recommended to that user again",
        "seen": "negative: the item counts as seen",
        "nowhere": "negative: no interest",
    }
)

_MOST_ACTIONS = 100
"""A column with more distinct values is no kind of interaction."""


@dataclass(frozen=True, slots=True)
class ActionRoles:
    """What the actions of an events file are taken for.

    Args:
        negative: action -> where its item is excluded for the user.
        likes: actions that are likes whatever their value.
        neutral: the others, without those that are ignored.
    """

    negative: Mapping[str, Exclusion]
    likes: Sequence[str]
    neutral: Sequence[str]

    @classmethod
    def of(cls, actions: Iterable[str]) -> Self:
        """Guess by the names, whatever their case and punctuation."""
        rules = ActionRules()
        found = sorted(set(actions) - set(rules.ignore))
        if len(found) > _MOST_ACTIONS:
            return cls({}, (), ())
        negative = {
            name: reach
            for name in found
            for reach, known in names("actions")["negative"].items()
            if fold(name) in known
        }
        likes = [name for name in found if fold(name) in names("actions")["like"]]
        neutral = [name for name in found if name not in negative and name not in likes]
        return cls(negative, likes, neutral)

    def notes(self) -> dict[str, str]:
        """Action -> what it is taken for, in words for people; negative ones first."""
        return {
            **{name: _REACH[reach] for name, reach in self.negative.items()},
            **dict.fromkeys(self.likes, "a like"),
            **dict.fromkeys(self.neutral, "interest"),
        }
