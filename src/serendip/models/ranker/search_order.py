"""What orders search, and the figures that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from serendip.models.ranker.config import SEARCH_SOURCES


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """What orders search, and why; nDCG@10 is of held-out searches of people, a mean over users.

    Figures are those of the source whose searches decided: ``logged`` or ``labelled``.

    Args:
        by_ranker: whether the ranker does; else sources are fused by rank.
        searches: source -> number of searches that the ranker has learned from; empty = there is
            no ranker.
        compared: number of held-out searches that both orders were compared on.
        users: number of users who asked them; each query without a user counts as one.
        ranker: nDCG@10 of the ranker; None = nothing was compared.
        fusion: nDCG@10 of rank fusion.
        difference: of the two.
        low: lower end of the 95 % interval of the paired difference.
        high: its upper end.
        note: why nothing was compared; empty = both were.
        source: whose held-out searches decided; empty = nobody's, or both, as earlier versions did.
    """

    by_ranker: bool = False
    searches: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0
    users: int = 0
    ranker: float | None = None
    fusion: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> Self | None:
        """Rebuild from ``as_dict``; None if an earlier version wrote it, by another rule.

        Further keys, which a later version wrote, are ignored; ``source`` may be missing.
        """
        names = {known.name for known in fields(cls)}
        if document is None or not names - {"source"} <= document.keys():
            return None
        return cls(**{name: value for name, value in document.items() if name in names})

    def describe(self) -> str:
        """One sentence for people."""
        if not self.searches:
            return "ordered by rank fusion, as there is no ranker"
        counts = ", ".join(f"{self.searches.get(name, 0):,} {name}" for name in SEARCH_SOURCES)
        learned = f"the ranker has learned from {counts} searches"
        if self.note:
            return f"ordered by {self._name()}, as {self.note}; {learned}"
        return (
            f"ordered by {self._name()}: on {self.compared:,} held-out {self._searches()} of "
            f"{self.users:,} users or queries the ranker has nDCG@10 {self.ranker:.4f} and rank "
            f"fusion {self.fusion:.4f} ({self.difference:+.4f}, {self.low:+.4f} to "
            f"{self.high:+.4f}); {learned}"
        )

    def _searches(self) -> str:
        return f"{self.source} searches" if self.source else "searches"

    def _name(self) -> str:
        return "the ranker" if self.by_ranker else "rank fusion"
