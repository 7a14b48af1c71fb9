"""Whether the ranker has learned from baskets, and the figures that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class BasketOrder:
    """What orders the requests of a task of baskets; nDCG@10 is a mean over users.

    Args:
        is_learned: whether the ranker has rows of its baskets; else they are answered as similar
            items.
        users: whose newest baskets both orders were compared on.
        own: nDCG@10 with rows of baskets; None = nothing was compared.
        similar: as similar items.
        low: lower end of the 95 % interval of the paired difference.
        high: its upper end.
        note: why nothing was compared; empty = both were.
    """

    is_learned: bool = False
    users: int = 0
    own: float | None = None
    similar: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild from ``as_dict``; further keys are ignored."""
        names = {known.name for known in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in names})

    def describe(self) -> str:
        """One sentence for people."""
        if self.own is None or self.similar is None:
            return f"ordered as similar items, as {self.note}"
        order = "by what the ranker learned from baskets" if self.is_learned else "as similar items"
        return (
            f"ordered {order}: on the newest baskets of {self.users:,} users nDCG@10 is "
            f"{self.own:.4f} with it and {self.similar:.4f} without ({self.low:+.4f} to "
            f"{self.high:+.4f})"
        )
