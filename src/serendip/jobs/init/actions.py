"""What the actions of an events file say: likes, rejections, or mere contact, guessed by name."""

from __future__ import annotations

import json
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

    def render_likes(self) -> list[str]:
        """The key of the likes, if some are not likes by default."""
        known = ActionRules().always_like
        more = [name for name in self.likes if name not in known]
        if not more:
            return []
        likes = ", ".join(map(_quote, (*known, *more)))
        return [f"always_like = [{likes}]     # likes, whatever their value"]

    def render_strengths(self) -> list[str]:
        """Commented settings by which likes weigh more than mere contact, if the log has both."""
        if not self.likes or not self.neutral:
            return []
        heads = ", ".join(map(_quote, ("interact", "like", *self.likes)))
        return [
            "",
            "# To let some actions weigh more than others in what models learn, uncomment:",
            "# [actions.strengths]",
            *(f"# {_quote(name)} = 5" for name in self.likes),
            "# To predict each of them, for the `action_weights` of a surface, uncomment:",
            "# [ranker]",
            f"# actions = [{heads}]",
        ]

    def render_negative(self) -> list[str]:
        """The table of the negative actions, if the log has some that are none by default."""
        defaults = ActionRules().negative
        if all(name in defaults for name in self.negative):
            return []
        reaches = {**defaults, **self.negative}
        return [
            "",
            "[actions.negative]     # no interest, and where the item is excluded for the user",
            *(f"{_quote(name)} = {_quote(reach)}" for name, reach in reaches.items()),
        ]


def _quote(text: str) -> str:
    """A TOML basic string; JSON escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
