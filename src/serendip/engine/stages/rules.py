"""What the rules of a request mean for the items of a state (``data.rules``).

A boost multiplies the value of an item and divides a negative one, so that it is higher in any
case: of the logits or log-probabilities of a model as of probabilities. Rows that have places in
place of values, as those of a search for a value of an attribute, move from the share x of the
better rows before them to x to the power of the factor. Burying is the inverse of both. An item
stays in its level of a search: what matches the text worse comes after what matches it better.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serendip.data import AllowedItems, BoolArray, FloatArray, IntArray, ItemList, ItemSet, Query
from serendip.data.arrays import distinct, locate
from serendip.data.items.attribute_test import AttributeTest
from serendip.data.rules import RULE_ACTIONS, Rule, RuleAction
from serendip.engine.state import EngineState

_END = 1e-4  # of places: none is 0 or 1


def rules_of(query: Query, *actions: RuleAction) -> Iterator[Rule]:
    """The rules of a request with some actions, in their order."""
    return (rule for rule in query.rules if rule.action in actions)


def are_meant(rule: Rule, items: IntArray, state: EngineState) -> BoolArray:
    """(C,) whether a rule is about items."""
    if rule.where:
        meant: BoolArray = passing(rule, state).mask[items]
        return meant
    numbers = numbers_of(rule, state)
    return locate(numbers, items)[1] if len(numbers) else np.zeros(len(items), np.bool_)


def numbers_of(rule: Rule, state: EngineState) -> IntArray:
    """(M,) int32 items that a rule names, ascending; -1 for unknown ones."""
    numbers = state.catalogue.vocabulary.numbers
    key = f"rule {rule.rule_id}"
    return state.derived.value(key, lambda: distinct(numbers(rule.items)))


def name_rules(query: Query, item: int, state: EngineState, *of: RuleAction) -> tuple[str, ...]:
    """Ids of the rules of a request that are about an item, ``of`` some actions; none = of any."""
    number, rules = np.array([item], np.int32), rules_of(query, *(of or RULE_ACTIONS))
    return tuple(rule.rule_id for rule in rules if are_meant(rule, number, state).any())


def passing(rule: Rule, state: EngineState, is_negated: bool = False) -> ItemSet:
    """The items that pass the test of a rule that has one, or all others."""

    def build() -> BoolArray:
        return AttributeTest.parse(rule.where).keep(state.catalogue) ^ is_negated

    return state.derived.item_set(("rule", rule.where, is_negated), build)


def find_pins(query: Query, allowed: AllowedItems, state: EngineState) -> dict[int, int]:
    """0-based position -> item, of items that may be shown; where a position is taken the next."""
    pins: dict[int, int] = {}
    for rule in rules_of(query, "pin"):
        position = int(rule.value or 1) - 1
        for item in state.catalogue.vocabulary.numbers(rule.items).tolist():
            if item in allowed and item not in pins.values():
                while position in pins:
                    position += 1
                pins[position] = item
    return pins


def put_pins(items: ItemList, pins: dict[int, int]) -> ItemList:
    """A list whose pinned items, of those in it, are at their positions again."""
    if not pins:
        return items
    rows = {item: row for row, item in enumerate(items.item_nums.tolist())}
    pinned = [(position, rows.pop(item)) for position, item in sorted(pins.items()) if item in rows]
    order = list(rows.values())
    for position, row in pinned:
        order.insert(position, row)
    return items.take(np.array(order, np.intp))


def weigh_places(
    query: Query, items: IntArray, places: FloatArray, state: EngineState
) -> FloatArray:
    """(C,) places in (0, 1) of items (C,), 1 = the first, as rules boost and bury them."""
    for factor, meant in find_factors(query, items, state):
        places = np.clip(np.where(meant, 1 - (1 - places) ** factor, places), _END, 1 - _END)
    return places


def find_factors(
    query: Query, items: IntArray, state: EngineState
) -> Iterator[tuple[float, BoolArray]]:
    """Of each rule that boosts or buries its factor, below 1 to bury, and which items (C,)."""
    for rule in rules_of(query, "boost", "bury"):
        factor = float(rule.value or 2)
        yield factor if rule.action == "boost" else 1 / factor, are_meant(rule, items, state)
