"""Sentences that say why an item is not shown, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from serendip.engine.stages.exploration import EXPLORED
from serendip.engine.stages.sponsored import SPONSORED

Wording: TypeAlias = tuple[str, str]
"""Why the item is absent, and what would change it."""

STAGES: Mapping[str, Wording] = {
    "seen": (
        "You have chosen or rejected it already",
        "After the time in [repeats], or on a surface without the filter seen",
    ),
    "rejected": (
        "You rejected it",
        "A later like or choice takes the rejection back",
    ),
    "context": (
        "The request is about this item itself",
        "Ask without it",
    ),
    "request": (
        "It fails a filter of the request",
        "Ask without the filter",
    ),
    "relevance filter": (
        "It is probably irrelevant to the request",
        "A higher threshold in [surfaces.{surface}.relevance_filter], or labels that call it "
        "relevant",
    ),
    "min value": (
        "Its score of {score} is too low, or too few items reach the threshold",
        "A lower threshold in [surfaces.{surface}.min_value]",
    ),
    "moved by diversity": (
        "Others of its group are shown, and it waits for them",
        "A larger number most in [surfaces.{surface}.diversity]",
    ),
    EXPLORED: (
        "A place that its score would have had went to a new item",
        "A smaller share in [surfaces.{surface}.exploration]",
    ),
    SPONSORED: (
        "Its place was sold, or only its bid brought it here and it bought no place",
        "A higher bid",
    ),
}

ATTRIBUTE: Wording = (
    "The filter “{stage}” of this surface leaves it out",
    "Another value of the attribute, or [surfaces.{surface}] filters without it",
)

UNLIKE: Wording = (
    "It is no more like the items of the request than any other item",
    "Attributes or words in common, or the surface next, of what is chosen next",
)

UNTIED: Wording = (
    "No source proposed it",
    "Events or words that tie it to the request, or a further source in "
    "[surfaces.{surface}.sources]",
)

UNPROPOSED: Wording = (
    "No source proposed it; with its score of {score} it would be number {place}",
    "In [surfaces.{surface}.sources], a larger quota of one that scores it: {sources}",
)

LENGTH: Wording = (
    "The list ends after {count} items; its score of {score} is below theirs",
    "A longer list (k in [surfaces.{surface}.min_value])",
)

SCORE: Wording = (
    "It is number {place}: its score of {score} is not above {last}, that of the last item shown",
    "A score above {last}, or a list of {place} items or more",
)

ORDER: Wording = (
    "It is number {place} in the order {sort}",
    "A list of {place} items or more, or another order",
)

UNMATCHED: Wording = (
    "It does not have the words of the search, or comes after the {count} items of this order",
    "Other words, more filters or another order",
)
