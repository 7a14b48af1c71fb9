"""The space of vectors of a generation: kept from the one before where the new training allows it.

It lies beside the models in ``space/`` and is read by exports only; requests are answered on the
axes that the training chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serendip.data.versions import Version
from serendip.engine.generations import open_current
from serendip.engine.state import EngineState
from serendip.errors import ArtefactError, NotTrainedError, UnsupportedError
from serendip.models.retriever import Retriever
from serendip.models.retriever_groups import RetrieverGroups
from serendip.models.vector_space import LEAST_AGREEMENT, Kept, VectorSpace

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
    "least_agreement": LEAST_AGREEMENT,
}


def retriever_of(state: EngineState) -> Retriever:
    """The model whose vectors are told.

    Raises:
        UnsupportedError: the state has none.
    """
    model = state.models.get(MODEL)
    if isinstance(model, RetrieverGroups):
        raise UnsupportedError(SPLIT, "Train with one group in `[unified]`.")
    if not isinstance(model, Retriever):
        raise UnsupportedError(
            f"there is no {MODEL} among the models {', '.join(state.models) or '(none)'}.",
            "Run `serendip train`.",
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
        None and a reason where tasks have retrievers of their own.
    """
    if isinstance(state.models.get(MODEL), RetrieverGroups):
        return None, {**_NO_SPACE, "reason": SPLIT}
    retriever = retriever_of(state)
    ids, vectors = state.catalogue.vocabulary.ids, retriever.vectors_of
    before = _space_before(generations)
    began = ""
    if before is None:
        space = VectorSpace.begin(MODEL, 1, retriever.parts, ids, vectors)
        kept = Kept(reason="there was no space before")
    else:
        generation, earlier = before
        space, kept = earlier.continued(retriever.parts, ids, vectors)
        if not kept.reason:
            began = generation.manifest["space"]["aligned_to"] or generation.name
    return space, {
        "name": space.name,
        "version": space.version,
        "kept": not kept.reason,
        "aligned_to": began,
        "items": kept.items,
        "agreement": dict(kept.agreement),
        "least_agreement": LEAST_AGREEMENT,
        "reason": kept.reason,
    }


def _space_before(generations: Path) -> tuple[Version, VectorSpace] | None:
    """The published generation and its space; None where either is missing or not readable."""
    try:
        current = open_current(generations)
        return current, space_of(current.folder)
    except (ArtefactError, NotTrainedError):
        return None
