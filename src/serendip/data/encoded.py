"""What one encoder says about some inputs: vectors, and which of them were there at all."""

from __future__ import annotations

from dataclasses import dataclass

from serendip.data.arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Vectors of one modality.

    Args:
        vectors: (N, D) float32, unit rows; filler where nothing was there.
        present: (N,) bool.
    """

    vectors: FloatArray
    present: BoolArray

    def __len__(self) -> int:
        return len(self.vectors)
