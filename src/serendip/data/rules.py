"""Rules of a merchandiser: for some requests, what is pinned, boosted, buried, hidden or told.

A request reads an index, so that thousands of rules for other queries, categories and segments cost
it nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from serendip.data.items.attribute_test import AttributeTest
from serendip.data.moment import Moment
from serendip.data.text import title_key

RuleAction: TypeAlias = Literal["pin", "boost", "bury", "hide", "redirect", "banner"]
RULE_ACTIONS: tuple[RuleAction, ...] = get_args(RuleAction)
RuleKey: TypeAlias = tuple[str, str]  # kind of condition, and what meets it
_EVERY: frozenset[RuleKey] = frozenset((("every", ""),))
_ORDER = ("query", "category", "segment", "surface", "every")


@dataclass(frozen=True)
class Rule:
    """What happens to the answers of some requests; all conditions that are given must hold.

    Args:
        rule_id: its id.
        action: ``pin`` = the items have the positions from ``value`` on; ``boost``, ``bury`` =
            their scores are multiplied, or divided, by ``value``; ``hide`` = they are not shown;
            ``redirect``, ``banner`` = the answer has ``value`` as its ``redirect`` or ``banner``.
        surfaces: names of surfaces; empty = all.
        queries: texts, compared without case, accents and signs with what was typed, and with what
            is searched for it; empty = any, and requests without a text.
        category: an attribute and its values, ``genres=Comedy``, by one of which the request
            filters; empty = any.
        segment: a text attribute of the user and its values, ``country=KR``; empty = everybody.
        begins: Unix seconds from which it counts; None = at once.
        ends: Unix seconds from which it no longer counts; None = never.
        items: ids of the items.
        where: a test of an attribute that items pass, in place of their ids.
        value: of a pin the 1-based position of its first item, None = 1; of ``boost`` and ``bury``
            the factor, None = 2; of ``redirect`` an address or a path; of ``banner`` a text.
    """

    rule_id: str
    action: RuleAction
    surfaces: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    category: str = ""
    segment: str = ""
    begins: Moment | None = None
    ends: Moment | None = None
    items: tuple[str, ...] = ()
    where: str = ""
    value: float | str | None = None

    @cached_property
    def conditions(self) -> tuple[frozenset[RuleKey], ...]:
        """Sets of keys, from each of which a request has one; the rarest in requests come first."""
        tests = (("category", self.category), ("segment", self.segment))
        groups = (
            {("query", title_key(text)) for text in self.queries},
            *(_test_keys(kind, AttributeTest.parse(test)) for kind, test in tests if test),
            {("surface", name) for name in self.surfaces},
        )
        return tuple(frozenset(group) for group in groups if group) or (_EVERY,)

    def as_dict(self) -> dict[str, Any]:
        """The fields that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "", None)}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Rule:
        """The inverse of ``as_dict``, also of one that was JSON."""
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists})


def find_keys(
    surfaces: Iterable[str],
    texts: Iterable[str],
    filters: Iterable[AttributeTest],
    user: Mapping[str, str],
) -> set[RuleKey]:
    """What the conditions of rules may name of a request.

    Args:
        surfaces: the one that was asked, and the one that answers.
        texts: what was typed, and what is searched for it.
        filters: its tests; those of several values are no category.
        user: attribute -> text of the user, the country of the request included.
    """
    categories = (
        test for test in filters if test.sign == "=" and len(test.values) == 1 and not test.others
    )
    segments = (AttributeTest(name, "=", (text,)) for name, text in user.items())
    return {
        *(("query", title_key(text)) for text in texts if text),
        *(key for test in categories for key in _test_keys("category", test)),
        *(key for test in segments for key in _test_keys("segment", test)),
        *(("surface", name) for name in surfaces),
        *_EVERY,
    }


def _test_keys(kind: str, test: AttributeTest) -> set[RuleKey]:
    return {(kind, f"{test.attribute}={value}".casefold()) for value in test.values}


@dataclass(frozen=True, eq=False)
class RuleSet:
    """The rules in force at one version; immutable."""

    by_id: Mapping[str, Rule] = field(default_factory=dict)
    version: int = 0

    def changed(self, changes: Mapping[str, Rule | None], version: int = 0) -> RuleSet:
        """A set with other rules of some ids; None = without it."""
        rules = {**self.by_id, **changes}
        return RuleSet({name: rule for name, rule in rules.items() if rule}, version)

    def find(self, keys: Set[RuleKey], time: float) -> tuple[Rule, ...]:
        """The rules for a request with some keys at a time in Unix seconds: those for a query
        first, then those for a category, for a segment, others; of a kind in the order of ids.
        """
        found = {
            (_ORDER.index(kind), rule.rule_id): rule
            for kind, name in keys & self._index.keys()
            for rule, conditions in self._index[kind, name]
            if (rule.begins or -math.inf) <= time < (rule.ends or math.inf)
            and not any(map(keys.isdisjoint, conditions))
        }
        return tuple(found[place] for place in sorted(found))

    @cached_property
    def _index(self) -> Mapping[RuleKey, list[tuple[Rule, tuple[frozenset[RuleKey], ...]]]]:
        index: dict[RuleKey, list[tuple[Rule, tuple[frozenset[RuleKey], ...]]]] = {}
        for rule in self.by_id.values():
            first, *others = rule.conditions
            for key in first:
                index.setdefault(key, []).append((rule, tuple(others)))
        return index


NO_RULES = RuleSet()
