"""What the labelling page needs: the seam between it and whatever keeps the labels."""

from __future__ import annotations

from typing import Protocol

from serendip.data.labelling import DeskView


class Desk(Protocol):
    """Pairs that one person labels, one after the other. Thread-safe."""

    def view(self) -> DeskView:
        """What is to be shown now."""
        ...

    def label(self, place: int, label: str) -> None:
        """Label a pair, durably when this returns; nothing where it has a label by now.

        Raises:
            DataError: there is no such pair or label.
            StorageError: it cannot be written.
        """
        ...

    def skip(self, place: int) -> None:
        """Put a pair off until the others are labelled.

        Raises:
            DataError: there is no such pair.
        """
        ...

    def undo(self) -> None:
        """Take the last label, or the last skip after it, back; the pair is asked next.

        Raises:
            StorageError: the label cannot be taken out.
        """
        ...
