"""What a training carries over from the published generation: semantic IDs and the vector space.

New codebooks are matched to those of the published generation, so that groups keep their numbers,
or are those of it (``[semantic_ids] keep``).

The vector space is continued by a rotation if the trainings agree well enough. It is stored in
``space/`` and read by exports only; requests are answered on the axes of the training itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.code_matching import match_codebooks, renumber
from serendip.data.arrays import IntArray
from serendip.data.items.catalogue import Catalogue
from serendip.data.items.features import ItemFeatures, ModalityVectors
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.vocabulary import Vocabulary
from serendip.engine.config.settings import Settings
from serendip.engine.state import EngineState, open_codes, open_fusion
from serendip.errors import ArtefactError, UnsupportedError
from serendip.jobs.semantic_ids.codes import compare_codes
from serendip.jobs.train.staleness import compare_settings
from serendip.models.embedding_space import MIN_AGREEMENT, SpaceContinuity, VectorSpace
from serendip.models.retriever.model import Retriever, RetrieverGroups
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True, eq=False)
class PreviousCodes:
    """Semantic IDs of the published generation.

    Args:
        vocabulary: N' items.
        codes: (N', L).
        fusion: of the content that the codebooks divide.
    """

    codebooks: Codebooks
    vocabulary: Vocabulary
    codes: IntArray
    fusion: Fusion

    @classmethod
    def of(cls, current: Version | None, settings: Settings, encoder: str) -> PreviousCodes | None:
        """Those of a generation; None without one, or if its content settings are others.

        Args:
            current: the generation in force.
            settings: of the training.
            encoder: name and version of its text encoder; codes of another one are not kept.
        """
        if current is None:
            return None
        changes = compare_settings(
            current.manifest["settings"], settings.learned_from(), ("content", "semantic_ids")
        )
        if any(change.key != "semantic_ids.keep" for change in changes):
            return None
        if settings.semantic_ids.keep and current.manifest["encoder"] != encoder:
            return None
        return cls(*open_codes(current.folder), open_fusion(current.folder))

    def match(
        self, features: ItemFeatures, codebooks: Codebooks, catalogue: Catalogue
    ) -> tuple[ItemFeatures, Codebooks]:
        """Renumber features and codebooks to agree with these codes as far as possible."""
        new, old = self._shared_rows(catalogue)
        codebooks, numbers = match_codebooks(
            codebooks, features.codes[new], self.codebooks, self.codes[old]
        )
        return replace(features, codes=renumber(features.codes, numbers)), codebooks

    def assign(
        self, encoded: Mapping[str, ModalityVectors]
    ) -> tuple[ItemFeatures, Codebooks, Fusion]:
        """Features of items with the codes of these codebooks."""
        content, size = self.fusion.encode(encoded), self.codebooks.codebook_size
        codes, present = self.codebooks.assign(content), self.fusion.present(encoded)
        return ItemFeatures(content, codes, size, present), self.codebooks, self.fusion

    def compare(self, codes: IntArray, catalogue: Catalogue) -> list[float]:
        """Per level, the share of shared items with the same code; last, with the same ID."""
        new, old = self._shared_rows(catalogue)
        return compare_codes(codes[new], self.codes[old])

    def _shared_rows(self, catalogue: Catalogue) -> tuple[IntArray, IntArray]:
        """Rows of the shared items, in ``catalogue`` and here."""
        rows = self.vocabulary.numbers(catalogue.vocabulary.ids)
        new = np.flatnonzero(rows >= 0).astype(np.int32)
        return new, rows[new]


def describe_ids(
    earlier: PreviousCodes | None, codes: IntArray, catalogue: Catalogue
) -> dict[str, Any]:
    """Stability of the codes, for the manifest of a generation."""
    return {"kept": earlier.compare(codes, catalogue) if earlier else []}


SPACE_FOLDER = "space"
MODEL = "retriever"
_NO_SHARED_SPACE = "the tasks have separate retrievers, whose vectors share no space"


def require_retriever(state: EngineState) -> Retriever:
    """The unified retriever, whose vectors are exported.

    Raises:
        UnsupportedError: the state has no such model.
    """
    model = state.models.get(MODEL)
    if isinstance(model, RetrieverGroups):
        raise UnsupportedError(
            f"{_NO_SHARED_SPACE}.", "Put all tasks in one group in `[unified]` and train again."
        )
    if model is None:
        raise UnsupportedError(
            f"the generation has no model {MODEL!r}, only {', '.join(state.models) or 'none'}.",
            "Run `serendip train`.",
        )
    if not isinstance(model, Retriever):
        raise UnsupportedError(
            f"the model {MODEL!r} is of class {model.name!r}, which has no vector space.",
            f"Remove `class` from `[models.{MODEL}]` and run `serendip train`.",
        )
    return model


def open_space(generation: Path) -> VectorSpace:
    """Open the vector space of a generation.

    Raises:
        ArtefactError: the generation has none.
    """
    return VectorSpace.open(generation / SPACE_FOLDER)


def continue_space(
    current: Version | None, state: EngineState
) -> tuple[VectorSpace | None, dict[str, Any]]:
    """Continue the vector space of the generation in force, or begin a new one.

    Args:
        current: the generation in force; None = there is none.
        state: of the generation to be published.

    Returns:
        the space and its facts for the manifest: ``name``, ``version``, whether it is ``kept``,
        the generation that it began with (``aligned_to``; empty = this one), number of ``items``
        compared, their ``agreement`` by part, the required ``least_agreement``, and the ``reason``
        if it is not kept. None and a reason if the tasks have separate retrievers, or if the
        retriever is of a class without a vector space.

    Raises:
        UnsupportedError: the state has no model ``retriever``.
    """
    try:
        retriever = require_retriever(state)
    except UnsupportedError as error:
        if MODEL not in state.models:
            raise
        return None, _describe_space(None, SpaceContinuity(reason=error.message.rstrip(".")))
    ids, vectors = state.catalogue.vocabulary.ids, retriever.vectors_of
    previous = None if current is None else _open_space_or_none(current)
    if current is None or previous is None:
        space = VectorSpace.begin(MODEL, 1, retriever.parts, ids, vectors)
        return space, _describe_space(space, SpaceContinuity(reason="there was no space before"))
    space, continuity = previous.continue_with(retriever.parts, ids, vectors)
    origin = current.manifest["space"]["aligned_to"] or current.name
    return space, _describe_space(space, continuity, "" if continuity.reason else origin)


def _describe_space(
    space: VectorSpace | None, continuity: SpaceContinuity, origin: str = ""
) -> dict[str, Any]:
    return {
        "name": "" if space is None else space.name,
        "version": 0 if space is None else space.version,
        "kept": not continuity.reason,
        "aligned_to": origin,
        "least_agreement": MIN_AGREEMENT,
        **asdict(continuity),
    }


def _open_space_or_none(generation: Version) -> VectorSpace | None:
    try:
        return open_space(generation.folder)
    except ArtefactError:
        return None
