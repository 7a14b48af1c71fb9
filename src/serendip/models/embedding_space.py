"""Versioned embedding space: later trainings are aligned with the first by orthogonal Procrustes.

Every training puts items and requests on arbitrary axes. A version of the space begins with the
vectors of one training, of which a sample of items, the anchors, is kept. Later trainings are
rotated onto the anchors: the network's part by one orthogonal map, the same for items and requests,
so that no score changes. Aligned content stays on the axes of its encoder. If the anchors do not
come close to their old positions, or the dimensions differ, a new version begins. Anchors are those
of the first training, not of the last one, so that small moves cannot accumulate: any two trainings
of one version agree with the same anchors.

Shapes: N items, M anchors, E size of the vectors, D of their network part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.vocabulary import Vocabulary
from serendip.errors import ArtefactError
from serendip.models.linalg import agreement, mean_cosine, procrustes

LEAST_AGREEMENT = 0.6
"""Mean cosine of the anchors, after the turn, below which another version begins; what is left at
this of a model that was made from earlier vectors: ``docs/results/embeddings.md``."""

MOST_ANCHORS = 4_000
"""They bound what a space costs on disk; a turn of a few hundred dimensions needs no more."""

NETWORK, CONTENT = "network", "content"
_SPACE_FILE, _ARRAYS_FILE = "space.json", "space.npz"

VectorsOf = Callable[[NDArray[np.integer]], FloatArray]
"""Item numbers (M,) -> their vectors (M, E)."""


@dataclass(frozen=True, slots=True)
class SpaceContinuity:
    """How one training stands to the space before it.

    Args:
        items: anchors that it knows.
        agreement: part -> mean cosine of these with the anchors, after the turn of the network's
            part (see ``procrustes.agreement``).
        reason: why another version begins; empty = the space is kept.
    """

    items: int = 0
    agreement: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VectorSpace:
    """Axes that vectors of several trainings share.

    Args:
        model: name of the model whose vectors these are.
        version: counts from 1; vectors of different versions must not be mixed.
        parts: what the E dimensions are, in order: part -> width.
        rotation: (D, D) from the axes of this training to those of the space.
        anchor_ids: ids of M items.
        anchors: (M, E) their vectors in the training that the space began with.
    """

    model: str
    version: int
    parts: Mapping[str, int]
    rotation: FloatArray
    anchor_ids: tuple[str, ...]
    anchors: FloatArray

    @classmethod
    def begin(
        cls,
        model: str,
        version: int,
        parts: Mapping[str, int],
        ids: Sequence[str],
        vectors: VectorsOf,
    ) -> Self:
        """A space on the axes of a training itself: its N items and their vectors."""
        rows = np.linspace(0, len(ids) - 1, min(len(ids), MOST_ANCHORS)).astype(np.intp)
        anchor_ids = tuple(ids[row] for row in rows)
        rotation = np.eye(parts[NETWORK], dtype=np.float32)
        return cls(model, version, dict(parts), rotation, anchor_ids, vectors(rows))

    def continued(
        self, parts: Mapping[str, int], ids: Sequence[str], vectors: VectorsOf
    ) -> tuple[Self, SpaceContinuity]:
        """The space of another training: this one turned anew, or the next version.

        Args:
            parts: of the other training.
            ids: its N items.
            vectors: of them, on its own axes.
        """
        if dict(parts) != dict(self.parts):
            kept = SpaceContinuity(
                reason=f"dimensions were {_told(self.parts)}, now {_told(parts)}"
            )
            return self._next(parts, ids, vectors), kept
        numbers = Vocabulary(ids).numbers(self.anchor_ids)
        now, before = vectors(numbers[numbers >= 0]), self.anchors[numbers >= 0]
        kept = self._kept(now, before)
        if kept.reason:
            return self._next(parts, ids, vectors), kept
        size = self.parts[NETWORK]
        return replace(self, rotation=procrustes(now[:, :size], before[:, :size])), kept

    def _next(self, parts: Mapping[str, int], ids: Sequence[str], vectors: VectorsOf) -> Self:
        return self.begin(self.model, self.version + 1, parts, ids, vectors)

    def _kept(self, now: FloatArray, before: FloatArray) -> SpaceContinuity:
        """How vectors of common items stand to their anchors, row by row."""
        size = self.parts[NETWORK]
        content = slice(size, size + self.parts.get(CONTENT, 0))
        found = {
            NETWORK: agreement(now[:, :size], before[:, :size]),
            CONTENT: mean_cosine(now[:, content], before[:, content]),
        }
        agreed = {part: value for part, value in found.items() if value is not None}
        if not agreed:
            return SpaceContinuity(len(now), agreed, "no items in common")
        part, least = min(agreed.items(), key=lambda one: one[1])
        reason = ""
        if least < LEAST_AGREEMENT:
            reason = f"agreement of {part} is {least:.3f}, below {LEAST_AGREEMENT}"
        return SpaceContinuity(len(now), agreed, reason)

    @property
    def name(self) -> str:
        """What to compare before vectors are mixed: model, version and a digest of the anchors.

        The digest tells apart versions of one number, as after a rollback, or of two workspaces.
        """
        digest = hashlib.sha256("\n".join(self.anchor_ids).encode())
        digest.update(np.ascontiguousarray(self.anchors).tobytes())
        return f"{self.model}-{self.version}-{digest.hexdigest()[:8]}"

    def turned(self, vectors: FloatArray) -> FloatArray:
        """Vectors (B, E) of items or requests on the axes of the space; dot products stay."""
        size = self.parts[NETWORK]
        return np.concatenate([vectors[:, :size] @ self.rotation, vectors[:, size:]], axis=1)

    def save(self, folder: Path) -> None:
        """Write into ``folder`` (created); no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "model": self.model,
            "version": self.version,
            "parts": dict(self.parts),
            "anchors": self.anchor_ids,
        }
        text = json.dumps(document, ensure_ascii=False)
        (folder / _SPACE_FILE).write_text(text, encoding="utf-8")
        np.savez(folder / _ARRAYS_FILE, rotation=self.rotation, anchors=self.anchors)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder holds no such space.
        """
        try:
            document = json.loads((folder / _SPACE_FILE).read_text(encoding="utf-8"))
            with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as stored:
                return cls(
                    document["model"],
                    document["version"],
                    document["parts"],
                    stored["rotation"],
                    tuple(document["anchors"]),
                    stored["anchors"],
                )
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(
                f"{folder} holds no readable space of vectors: {error}.", "Run `serendip train`."
            ) from None


def _told(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{width} of {part}" for part, width in parts.items())
