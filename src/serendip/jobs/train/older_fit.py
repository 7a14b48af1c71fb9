"""What the fit on the older part of the data leaves for the fit on all of it.

The models of the older part make the training rows of the ranker. Those that are trained by
gradients are not trained again from nothing: they continue on all data, which costs a fraction of
it (``Recommender.learned``). They can do so if content vectors mean the same in both fits: the
fusion of the modalities is kept unless the newer part has other modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from serendip.content.fusion import Fusion
from serendip.data.semantic_ids import Codebooks
from serendip.data.vocabulary import Vocabulary
from serendip.models.base import WarmStart


@dataclass(frozen=True, slots=True, eq=False)
class OlderFit:
    """The fit on the older part, without what needs much memory.

    Args:
        items: ids of its items.
        codebooks: from which new codebooks start.
        fusion: of its content.
        learned: name of a model -> arrays from which it continues; empty = it cannot.
    """

    items: Vocabulary
    codebooks: Codebooks
    fusion: Fusion
    learned: Mapping[str, Mapping[str, NDArray[Any]]]

    def start(self, name: str, items: Vocabulary, fusion: Fusion) -> WarmStart | None:
        """Start of a model on items with content of ``fusion``; None = from nothing."""
        if fusion is not self.fusion and (fusion.blocks or self.fusion.blocks):
            return None
        return WarmStart(self.learned.get(name, {}), self.items.numbers(items.ids))
