"""The vector space that exports are in, continued from the published generation.

It is continued by a rotation if the trainings agree well enough. It is stored in ``models/_space``
and read by exports only; requests are answered on the axes of the training itself.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serendip.engine.state import EngineState
from serendip.engine.state_parts import MODELS
from serendip.errors import ArtefactError, UnsupportedError
from serendip.models.embedding_space import MIN_AGREEMENT, SpaceContinuity, VectorSpace
from serendip.models.retriever.model import Retriever, RetrieverGroups
from serendip.runtime.versions import Version

SPACE_FOLDER = f"{MODELS}/_space"
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
    """Continue the vector space of the generation in force, if there is one, or begin a new one.

    Returns the space and its facts for the manifest: ``name``, ``version``, whether it is ``kept``,
    the generation that it began with (``aligned_to``; empty = this one), number of ``items``
    compared, their ``agreement`` by part, the required ``least_agreement``, and the ``reason`` if
    it is not kept. None and a reason if the tasks have separate retrievers, or if the retriever is
    of a class without a vector space.

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
    previous = None
    if current is not None:
        with suppress(ArtefactError):
            previous = open_space(current.folder)
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
