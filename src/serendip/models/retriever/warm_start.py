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
_CONTENT, _KNOWN, _QUALITY = "content_weights", "known_weights", "quality_weights"

_COUNTRIES = "countries"

IDS, CODE_TABLES = "tower.ids", "tower.code_tables"
"""Names of the parameters with a row per item, and per code."""


@dataclass(frozen=True, slots=True, eq=False)
class RetrieverStart:
    """A trained network and the weights that were tuned with it.

    Args:
        parameters: name -> array, of all parameters of the network.
        codes: (N', L) semantic IDs.
        seen: (N',) items with a trained ID embedding.
        weights: tuned weights: of content per task, of content for trained queries, of quality.
        countries: names of the rows of the countries' vectors; empty = countries are not read.
        rows: (N,) int32 number of each present item in the earlier training; -1 = new.
    """

    parameters: Mapping[str, FloatArray]
    codes: IntArray
    seen: BoolArray
    weights: Mapping[str, FloatArray]
    countries: tuple[str, ...] = ()
    rows: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def content_weights(self) -> FloatArray | None:
        """(tasks, 2); None = content was not aligned."""
        return self.weights.get(_CONTENT)

    @property
    def known_weights(self) -> FloatArray | None:
        """(2,) for trained queries; None = there were none."""
        return self.weights.get(_KNOWN)

    @property
    def quality_weights(self) -> FloatArray | None:
        """(Q,); None = quality is not used."""
        return self.weights.get(_QUALITY)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, by name; see ``Recommender.learned``."""
        parameters = {f"{_PARAMETER}{name}": array for name, array in self.parameters.items()}
        names = np.frombuffer(json.dumps(self.countries).encode(), np.uint8)
        own = {"codes": self.codes, "seen": self.seen, _COUNTRIES: names}
        return {**parameters, **self.weights, **own}

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
        weights = {name: stored[name] for name in (_CONTENT, _KNOWN, _QUALITY) if name in stored}
        countries = json.loads(stored[_COUNTRIES].tobytes())
        own = stored["codes"], stored["seen"], weights
        return cls(parameters, *own, tuple(countries), start.rows)


def name_weights(
    content: FloatArray | None, known: FloatArray | None, quality: FloatArray | None
) -> dict[str, FloatArray]:
    """``RetrieverStart.weights`` without those that are None."""
    named = {_CONTENT: content, _KNOWN: known, _QUALITY: quality}
    return {name: weights for name, weights in named.items() if weights is not None}
