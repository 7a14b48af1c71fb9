"""State of a manual labelling session, as the labelling page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PairToLabel:
    """The query-item pair to label next.

    Args:
        place: its number; sent back with the label, which thus cannot reach another pair.
        query: the search text.
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
    """Inter-annotator agreement with one other labeller.

    Args:
        name: of the other labeller.
        pairs: number of pairs that both have labelled.
        kappa, low, high: Cohen's kappa and its interval; None = not defined yet.
    """

    name: str
    pairs: int
    kappa: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class LabellingView:
    """The current view of a labelling session.

    Args:
        name: of the labeller.
        next_pair: the pair to label next; None = all are labelled.
        pairs: total number.
        good, bad: number of pairs with that label.
        skipped: number of postponed pairs.
        undoes: the label that undo would remove; "" = none.
        agreements: with each other labeller.
    """

    name: str
    next_pair: PairToLabel | None
    pairs: int
    good: int
    bad: int
    skipped: int
    undoes: str
    agreements: Sequence[AgreementSoFar]
