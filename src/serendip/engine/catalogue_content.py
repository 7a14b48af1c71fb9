"""What items are, whatever people chose: content vectors and semantic IDs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from serendip.content.fusion import Fusion
from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact
from serendip.data.items.features import ItemFeatures
from serendip.data.items.semantic_ids import Codebooks, CodeCells


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueContent(Artefact):
    """Content of the N items of a catalogue; the arguments are those of ``EngineState``."""

    features: ItemFeatures
    codebooks: Codebooks
    fusion: Fusion
    cells: CodeCells
    code_names: Mapping[str, str]
    variants: IntArray

    def values(self) -> dict[str, Any]:
        """Its arguments by name."""
        return {own.name: getattr(self, own.name) for own in fields(self)}
