"""The semantic IDs of a generation, without its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from serendip.data import IntArray, Vocabulary
from serendip.engine.artefacts.generations import open_current, open_named
from serendip.engine.state import open_code_names, open_codes
from serendip.errors import ArtefactError, DataError
from serendip.runtime.sync import Place
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True, eq=False)
class GenerationCodes:
    """Semantic IDs of the items of a generation.

    Args:
        generation: that has them.
        items: N ids.
        codes: (N, L) int32.
        codebook_size: codes per level.
        names: code prefix (``12`` or ``12-7``) -> readable name.
    """

    generation: Version
    items: Vocabulary
    codes: IntArray
    codebook_size: int
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the generation."""
        return self.generation.name

    @classmethod
    def open(cls, generations: Place, name: str = "") -> Self:
        """Read those of a generation; empty = of the one in force.

        Raises:
            NotTrainedError: none is published.
            DataError: there is no generation of that name.
        """
        try:
            version = open_named(generations, name) if name else open_current(generations)
        except ArtefactError as error:
            if not name:
                raise
            raise DataError(
                f"there is no readable generation {name!r}: {error.message}",
                "`serendip status` names the one in force.",
            ) from None
        codebooks, items, codes = open_codes(version.folder)
        names = open_code_names(version.folder)
        return cls(version, items, codes, codebooks.codebook_size, names)


def compare_codes(new: IntArray, old: IntArray) -> list[float]:
    """Per level, the share of items with the same code; last, the share with the same ID.

    Args:
        new: (M, L) codes.
        old: (M, L') codes of the same items; the result is empty if L' is not L.
    """
    if not len(new) or new.shape != old.shape:
        return []
    same = new == old
    return [*map(float, same.mean(0)), float(same.all(1).mean())]
