"""Validation of rules, where they are written; names are checked against a catalogue there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serendip.data.items.attribute_test import AttributeTest
from serendip.data.rules import Rule, RuleAction
from serendip.data.store.validation import id_problem
from serendip.errors import DataError

_ADDRESS = re.compile(r"(https?://[^\s/\\]|/(?![/\\]))[^\s\\\x00-\x1f\x7f]*")
_FACTOR = "has items or where, and as its value the factor of their score: 1.1 to 10."
_HINTS: Mapping[RuleAction, str] = {
    "pin": "A pin has items, and as its value the position of the first: 1 to 1,000.",
    "boost": f"A boost {_FACTOR}",
    "bury": f"A burial {_FACTOR}",
    "hide": "A rule that hides has items or where, and no value.",
    "redirect": "A redirect has queries or a category, no items, and as its value an address with "
    "https:// or http://, or a path that begins with one /.",
    "banner": "A banner has no items, and as its value a text of 1 to 500 characters.",
}


def check_rule(rule: Rule) -> None:
    """Refuse a rule that says nothing, or what is impossible.

    Raises:
        DataError: the field with its value, and what a rule with this action has.
    """
    if problem := _find_problem(rule):
        raise DataError(f"{problem}.", _HINTS.get(rule.action, f"Actions: {', '.join(_HINTS)}."))


def _find_problem(rule: Rule) -> str:
    if rule.action not in _HINTS or id_problem(rule.rule_id):
        return f"rule_id = {rule.rule_id[:80]!r}, action = {rule.action!r}"
    for test in (rule.category, rule.segment):
        if test and any(one.sign != "=" or one.others for one in [AttributeTest.parse(test)]):
            return f"{test!r} is neither NAME=VALUE nor NAME=ONE|OTHER"
    if rule.begins is not None and rule.ends is not None and rule.begins >= rule.ends:
        return f"ends = {rule.ends:.0f} is not after begins = {rule.begins:.0f}"
    is_of_items = rule.action not in ("redirect", "banner")
    if bool(rule.items) + bool(rule.where) != is_of_items or (rule.action == "pin" and rule.where):
        return f"items = {list(rule.items[:3])}, where = {rule.where[:80]!r}"
    if rule.action == "redirect" and not (rule.queries or rule.category):
        return "a redirect of every request"
    return "" if _is_right(rule.action, rule.value) else f"value = {str(rule.value)[:80]!r}"


def _is_right(action: RuleAction, value: float | str | None) -> bool:
    if value is None:
        return action not in ("redirect", "banner")
    if isinstance(value, str):
        is_text = action == "banner" and 0 < len(value.strip()) and len(value) <= 500
        return is_text or (action == "redirect" and _ADDRESS.fullmatch(value) is not None)
    if action == "pin":
        return 1 <= value <= 1000 and value == int(value)
    return action in ("boost", "bury") and 1.1 <= value <= 10
