"""What a retriever learned from earlier events, as arrays from which a training continues.

Shapes: N' items of the earlier training, N items now, L code levels, E size of an ID embedding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.models.base import WarmStart

_PARAMETER = "network/"
_WEIGHTS = ("content_weights", "known_weights", "quality_weights")

_COUNTRIES = "countries"

IDS, CODE_TABLES = "tower.ids", "tower.code_tables"
"""Names of the parameters with a row per item, and per code."""


@dataclass(frozen=True, slots=True, eq=False)
class RetrieverStart:
    """A trained network and the weights that were tuned with it.

    Args:
        codes: (N', L) semantic IDs.
        seen: (N',) items with a trained ID embedding.
        countries: names of the rows of the countries' vectors; empty = countries are not read.
        content_weights: (tasks, 2); None = content was not aligned.
        known_weights: (2,) for trained queries; None = there were none.
        quality_weights: (Q,); None = quality is not used.
        rows: (N,) int32 number of each present item in the earlier training; -1 = new.
    """

    parameters: Mapping[str, FloatArray]
    codes: IntArray
    seen: BoolArray
    countries: tuple[str, ...] = ()
    content_weights: FloatArray | None = None
    known_weights: FloatArray | None = None
    quality_weights: FloatArray | None = None
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, by name; see ``Recommender.learned``."""
        parameters = {f"{_PARAMETER}{name}": array for name, array in self.parameters.items()}
        names = np.frombuffer(json.dumps(self.countries).encode(), np.uint8)
        weights = {name: getattr(self, name) for name in _WEIGHTS}
        tuned = {name: array for name, array in weights.items() if array is not None}
        return {**parameters, **tuned, "codes": self.codes, "seen": self.seen, _COUNTRIES: names}

    @classmethod
    def of(cls, start: WarmStart) -> RetrieverStart | None:
        """Rebuild from ``arrays``; None without any."""
        stored = start.arrays
        if not stored:
            return None
        parameters = {
            name.removeprefix(_PARAMETER): array
            for name, array in stored.items()
            if name.startswith(_PARAMETER)
        }
        countries = tuple(json.loads(stored[_COUNTRIES].tobytes()))
        content, known, quality = (stored.get(name) for name in _WEIGHTS)
        own = stored["codes"], stored["seen"], countries
        return cls(parameters, *own, content, known, quality, start.rows)
