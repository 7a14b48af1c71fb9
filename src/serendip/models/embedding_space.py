"""Versioned embedding space: later trainings are aligned with the first by orthogonal Procrustes.

The axes of the vectors of a training are arbitrary. A version of the space begins with one
training; the vectors of a sample of its items, the anchors, are stored. Later trainings are rotated
onto the anchors: the network part of the vectors by one orthogonal map for items and requests, so
that scores do not change. Aligned content stays on the axes of its encoder. If the rotated anchors
are not close to their stored vectors, or the dimensions differ, a new version begins. Anchors are
those of the first training, not of the previous one, so that drift cannot accumulate: any two
trainings of one version agree with the same anchors.

Shapes: N items, M anchors or items, E size of the vectors, D of their network part, B vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, FloatArray, Vocabulary
from serendip.models.linalg import fit_procrustes, mean_cosine, measure_agreement

MIN_AGREEMENT = 0.6
"""Mean cosine of the rotated anchors with the stored ones below which a new version begins;
``docs/results/embeddings.md`` measures a model trained on vectors of an earlier training."""

MAX_ANCHORS = 4_000
"""Bounds the size on disk; enough to fit a rotation of a few hundred dimensions."""

NETWORK, CONTENT = "network", "content"

VectorsOf = Callable[[NDArray[np.integer]], FloatArray]


@dataclass(frozen=True, slots=True)
class SpaceContinuity:
    """Agreement of a training with the space before it.

    Args:
        agreement: part of the vectors -> mean cosine with the anchors, after rotation of the
            network part (see ``linalg.measure_agreement``).
        reason: why a new version begins; empty = the space is continued.
    """

    items: int = 0
    agreement: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VectorSpace(Artefact):
    """Axes shared by the vectors of several trainings.

    Args:
        version: from 1; vectors of different versions must not be mixed.
        parts: parts of the E dimensions, in order: part -> width.
        rotation: (D, D) from the axes of this training to those of the space.
        anchor_ids: external ids of the M anchors.
        anchors: (M, E) vectors of the anchors in the first training of the space.
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
        """Begin a space on the axes of a training with N items; the rotation is the identity."""
        rows = np.linspace(0, len(ids) - 1, min(len(ids), MAX_ANCHORS)).astype(np.intp)  # (M,)
        anchor_ids = tuple(ids[row] for row in rows)
        rotation = np.eye(parts[NETWORK], dtype=np.float32)  # (D, D)
        return cls(model, version, dict(parts), rotation, anchor_ids, vectors(rows))

    def continue_with(
        self, parts: Mapping[str, int], ids: Sequence[str], vectors: VectorsOf
    ) -> tuple[Self, SpaceContinuity]:
        """Continue the space with a later training: with a new rotation, or as the next version.

        Parts, external ids of N items and vectors are those of the later training, on its axes.
        """
        if dict(parts) != dict(self.parts):
            continuity = SpaceContinuity(
                reason=f"dimensions were {_describe(self.parts)}, now {_describe(parts)}"
            )
            return self._begin_next(parts, ids, vectors), continuity
        numbers = Vocabulary(ids).numbers(self.anchor_ids)  # (M,), -1 = not in the training
        # Vectors of the common items, row by row.
        now, before = vectors(numbers[numbers >= 0]), self.anchors[numbers >= 0]
        continuity = self._measure_continuity(now, before)
        if continuity.reason:
            return self._begin_next(parts, ids, vectors), continuity
        size = self.parts[NETWORK]
        rotation = fit_procrustes(now[:, :size], before[:, :size])  # (D, D)
        return replace(self, rotation=rotation), continuity

    def _begin_next(self, parts: Mapping[str, int], ids: Sequence[str], vectors: VectorsOf) -> Self:
        return self.begin(self.model, self.version + 1, parts, ids, vectors)

    def _measure_continuity(self, now: FloatArray, before: FloatArray) -> SpaceContinuity:
        size = self.parts[NETWORK]
        content = slice(size, size + self.parts.get(CONTENT, 0))
        cosines = {
            NETWORK: measure_agreement(now[:, :size], before[:, :size]),
            CONTENT: mean_cosine(now[:, content], before[:, content]),
        }
        agreement = {part: cosine for part, cosine in cosines.items() if cosine is not None}
        if not agreement:
            return SpaceContinuity(len(now), agreement, "no items in common")
        part, lowest = min(agreement.items(), key=lambda entry: entry[1])
        reason = ""
        if lowest < MIN_AGREEMENT:
            reason = f"agreement of {part} is {lowest:.3f}, below {MIN_AGREEMENT}"
        return SpaceContinuity(len(now), agreement, reason)

    @property
    def name(self) -> str:
        """Identity of the space: model, version and a digest of the anchors.

        Vectors may be mixed only if this is equal. The digest distinguishes spaces with the same
        version, as after a rollback or in two workspaces.
        """
        digest = hashlib.sha256("\n".join(self.anchor_ids).encode())
        digest.update(np.ascontiguousarray(self.anchors).tobytes())
        return f"{self.model}-{self.version}-{digest.hexdigest()[:8]}"

    def rotate(self, vectors: FloatArray) -> FloatArray:
        """Rotate vectors (B, E) of items or requests onto the axes of the space.

        Dot products between rotated vectors do not change.
        """
        size = self.parts[NETWORK]
        return np.concatenate([vectors[:, :size] @ self.rotation, vectors[:, size:]], axis=1)


def _describe(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{width} of {part}" for part, width in parts.items())
