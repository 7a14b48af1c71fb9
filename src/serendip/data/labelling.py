"""What somebody who labels pairs by hand is shown at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PairToLabel:
    """The pair that is to be labelled.

    Args:
        place: its number; what is sent back says it, so that no label meets another pair.
        query: what somebody looked for.
        title, description: of the item.
        attributes: of the item.
    """

    place: int
    query: str
    title: str = ""
    description: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgreementSoFar:
    """Agreement with somebody else's labels.

    Args:
        name: whose.
        pairs: that both labelled.
        kappa, low, high: Cohen's, and its interval; None = nothing can be said yet.
    """

    name: str
    pairs: int
    kappa: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class LabellingView:
    """What is shown at a moment.

    Args:
        name: who labels.
        asked: the next pair; None = all are labelled.
        pairs: how many there are.
        good, bad: how many have that label.
        skipped: how many were put off.
        undoes: what would be taken back; "" = nothing.
        agreed: with each of the others.
    """

    name: str
    asked: PairToLabel | None
    pairs: int
    good: int
    bad: int
    skipped: int
    undoes: str
    agreed: Sequence[AgreementSoFar]
