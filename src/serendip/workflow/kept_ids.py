"""Codes that a training keeps: those of the built IDs, or the numbers of the generation before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.code_matching import match_codebooks, renumbered
from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue
from serendip.data.item_features import Encoded, ItemFeatures
from serendip.data.semantic_ids import Codebooks
from serendip.data.vocabulary import Vocabulary
from serendip.engine.generations import open_current
from serendip.engine.settings import Settings
from serendip.engine.state import open_codes
from serendip.errors import ArtefactError, NotTrainedError
from serendip.jobs.semantic_ids.build import shares_kept
from serendip.jobs.semantic_ids.versions import IdVersion


@dataclass(frozen=True, slots=True, eq=False)
class EarlierCodes:
    """What the generation before said.

    Args:
        codebooks: of it.
        vocabulary: its items.
        codes: (N', L) of them.
    """

    codebooks: Codebooks
    vocabulary: Vocabulary
    codes: IntArray

    @classmethod
    def of_current(cls, generations: Path, settings: Settings) -> EarlierCodes | None:
        """Of the published generation; None where there is none of the same content settings."""
        try:
            current = open_current(generations)
        except (ArtefactError, NotTrainedError):
            return None
        before, now = current.manifest.get("settings", {}), settings.learned_from()
        if any(before.get(part) != now[part] for part in ("content", "semantic_ids")):
            return None
        return cls(*open_codes(current.folder))

    def matched(
        self, features: ItemFeatures, codebooks: Codebooks, catalogue: Catalogue
    ) -> tuple[ItemFeatures, Codebooks]:
        """Features and codebooks under the numbers of these codes."""
        new, old = self._shared(catalogue)
        codebooks, numbers = match_codebooks(
            codebooks, features.codes[new], self.codebooks, self.codes[old]
        )
        return replace(features, codes=renumbered(features.codes, numbers)), codebooks

    def shares_kept(self, codes: IntArray, catalogue: Catalogue) -> list[float]:
        """Per level the share of known items with the same code, then that of the same full ID."""
        new, old = self._shared(catalogue)
        return shares_kept(codes[new], self.codes[old])

    def _shared(self, catalogue: Catalogue) -> tuple[IntArray, IntArray]:
        """Numbers of the items that both know: in ``catalogue``, and here."""
        rows = self.vocabulary.numbers(catalogue.vocabulary.ids)
        new = np.flatnonzero(rows >= 0).astype(np.int32)
        return new, rows[new]


def features_of_version(
    version: IdVersion, encoded: Mapping[str, Encoded], catalogue: Catalogue
) -> tuple[ItemFeatures, Codebooks, Fusion]:
    """Features whose codes are those of a version; items that it does not know are coded now."""
    content = version.fusion.encode(encoded)
    rows = Vocabulary(version.items.ids).numbers(catalogue.vocabulary.ids)
    codes = version.items.codes[np.maximum(rows, 0)]
    codes[rows < 0] = version.codebooks.assign(content[rows < 0])
    size, present = version.codebooks.codebook_size, version.fusion.present(encoded)
    return ItemFeatures(content, codes, size, present), version.codebooks, version.fusion


def id_facts(
    version: IdVersion | None, earlier: EarlierCodes | None, codes: IntArray, catalogue: Catalogue
) -> dict[str, Any]:
    """Where codes come from, for the manifest of a generation."""
    kept = earlier.shares_kept(codes, catalogue) if earlier else []
    return {"version": version.name if version else None, "kept": kept}
