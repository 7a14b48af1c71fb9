"""Codes that a training keeps: those of the built IDs, or the numbers of the generation before.

The space of vectors of a generation: kept from the one before where the new training allows it.

It lies beside the models in ``space/`` and is read by exports only; requests are answered on the
axes that the training chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.code_matching import match_codebooks, renumber
from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue
from serendip.data.item_features import ItemFeatures, ModalityVectors
from serendip.data.semantic_ids import Codebooks
from serendip.data.vocabulary import Vocabulary
from serendip.engine.generations import open_current
from serendip.engine.settings import Settings
from serendip.engine.state import EngineState, open_codes
from serendip.errors import ArtefactError, NotTrainedError, UnsupportedError
from serendip.jobs.semantic_ids.build import shares_kept
from serendip.jobs.semantic_ids.versions import IdVersion
from serendip.models.embedding_space import MIN_AGREEMENT, SpaceContinuity, VectorSpace
from serendip.models.retriever.model import Retriever, RetrieverGroups
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True, eq=False)
class PreviousCodes:
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
    def of_current(cls, generations: Path, settings: Settings) -> PreviousCodes | None:
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
        return replace(features, codes=renumber(features.codes, numbers)), codebooks

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
    version: IdVersion, encoded: Mapping[str, ModalityVectors], catalogue: Catalogue
) -> tuple[ItemFeatures, Codebooks, Fusion]:
    """Features whose codes are those of a version; items that it does not know are coded now."""
    content = version.fusion.encode(encoded)
    rows = Vocabulary(version.items.ids).numbers(catalogue.vocabulary.ids)
    codes = version.items.codes[np.maximum(rows, 0)]
    codes[rows < 0] = version.codebooks.assign(content[rows < 0])
    size, present = version.codebooks.codebook_size, version.fusion.present(encoded)
    return ItemFeatures(content, codes, size, present), version.codebooks, version.fusion


def id_facts(
    version: IdVersion | None, earlier: PreviousCodes | None, codes: IntArray, catalogue: Catalogue
) -> dict[str, Any]:
    """Where codes come from, for the manifest of a generation."""
    kept = earlier.shares_kept(codes, catalogue) if earlier else []
    return {"version": version.name if version else None, "kept": kept}


SPACE_FOLDER = "space"
MODEL = "retriever"
SPLIT = "tasks have retrievers of their own, whose vectors share no space"

_NO_SPACE: Mapping[str, Any] = {
    "name": "",
    "version": 0,
    "kept": False,
    "aligned_to": "",
    "items": 0,
    "agreement": {},
    "least_agreement": MIN_AGREEMENT,
}


def retriever_of(state: EngineState) -> Retriever:
    """The model whose vectors are told.

    Raises:
        UnsupportedError: the state has none.
    """
    model = state.models.get(MODEL)
    if isinstance(model, RetrieverGroups):
        raise UnsupportedError(SPLIT, "Train with one group in `[unified]`.")
    if model is None:
        raise UnsupportedError(
            f"there is no {MODEL} among the models {', '.join(state.models) or '(none)'}.",
            "Run `serendip train`.",
        )
    if not isinstance(model, Retriever):
        raise UnsupportedError(
            f"the model {MODEL!r} is of class {model.name!r}, which has no space of vectors.",
            f"Remove `class` from `[models.{MODEL}]` and run `serendip train`.",
        )
    return model


def space_of(generation: Path) -> VectorSpace:
    """The space of a generation.

    Raises:
        ArtefactError: it has none; it was published before there were spaces.
    """
    return VectorSpace.open(generation / SPACE_FOLDER)


def next_space(generations: Path, state: EngineState) -> tuple[VectorSpace | None, dict[str, Any]]:
    """The space of a fitted state that is about to be published, and what its manifest tells.

    Args:
        generations: of the workspace; the published one is what is continued.
        state: not yet published.

    Returns:
        the space; and its ``name``, ``version``, whether it is ``kept``, which generation it began
        with (``aligned_to``; empty = this one), how many ``items`` were compared, their
        ``agreement`` by part with ``least_agreement``, and the ``reason`` where it is not kept.
        None and a reason where tasks have retrievers of their own, or another model is in their
        place.

    Raises:
        UnsupportedError: the state has no model of that name.
    """
    retriever, reason = _retriever_or_reason(state)
    if retriever is None:
        return None, {**_NO_SPACE, "reason": reason}
    ids, vectors = state.catalogue.vocabulary.ids, retriever.vectors_of
    before = _space_before(generations)
    began = ""
    if before is None:
        space = VectorSpace.begin(MODEL, 1, retriever.parts, ids, vectors)
        kept = SpaceContinuity(reason="there was no space before")
    else:
        generation, earlier = before
        space, kept = earlier.continue_with(retriever.parts, ids, vectors)
        if not kept.reason:
            began = generation.manifest["space"]["aligned_to"] or generation.name
    return space, {
        "name": space.name,
        "version": space.version,
        "kept": not kept.reason,
        "aligned_to": began,
        "items": kept.items,
        "agreement": dict(kept.agreement),
        "least_agreement": MIN_AGREEMENT,
        "reason": kept.reason,
    }


def _retriever_or_reason(state: EngineState) -> tuple[Retriever | None, str]:
    """The model whose vectors are exported, or why the configured models have none."""
    try:
        return retriever_of(state), ""
    except UnsupportedError as error:
        if MODEL not in state.models:
            raise
        return None, error.message.rstrip(".")


def _space_before(generations: Path) -> tuple[Version, VectorSpace] | None:
    """The published generation and its space; None where either is missing or not readable."""
    try:
        current = open_current(generations)
        return current, space_of(current.folder)
    except (ArtefactError, NotTrainedError):
        return None
