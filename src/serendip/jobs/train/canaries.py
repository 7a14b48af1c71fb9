"""Canary requests: a new generation must answer what the first visitors of a shop would ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList
from serendip.data.query import Query
from serendip.data.text import normalise
from serendip.engine.stages.pipeline import restrict, run
from serendip.engine.stages.popular import list_popular
from serendip.engine.stages.selection import Result
from serendip.engine.stages.sources import WordSource
from serendip.engine.stages.surface_stages import SurfaceStages
from serendip.engine.stages.surfaces import RETRIEVER, SurfaceConfig, visible_to
from serendip.engine.state import EngineState
from serendip.jobs.train.gates import GateResult

ASKED = 5
"""Number of items that a surface is asked about. Most of them must have an answer, not all: a title
of signs alone, or an item that is like no other one, proves nothing about a generation."""

_POPULAR = 50
"""Number of popular items that the asked ones are chosen from."""

_LONGEST = 200
"""Longer titles are no texts that people type."""

_BY_WORDS = WordSource().trace_key


def check_answers(
    state: EngineState,
    surfaces: Mapping[str, SurfaceConfig],
    encode: Callable[[Sequence[str]], FloatArray],
) -> list[GateResult]:
    """Check that home, search and similar items answer, and that no stage fails in them.

    Args:
        state: of the new generation.
        surfaces: by name; a surface that is configured for other requests is not asked.
        encode: texts (Q,) -> their content vectors (Q, D).

    Returns:
        one result for each surface that the items allow to ask.
    """
    results = [_check_home(state, surfaces["home"])]
    if surfaces["search"].needs == "query":
        results += _check_search(state, surfaces["search"], encode)
    if surfaces["similar"].needs == "items":
        results += _check_similar(state, surfaces["similar"])
    return results


def _check_home(state: EngineState, home: SurfaceConfig) -> GateResult:
    """Ask home as a user without a history."""
    answer = run([Query("home")], home, state)[0]
    return GateResult(
        "answers a new visitor",
        len(answer.items) > 0 and not answer.degraded,
        f"{len(answer.items)} candidates for home{_describe_failed([answer])}",
    )


def _check_search(
    state: EngineState, search: SurfaceConfig, encode: Callable[[Sequence[str]], FloatArray]
) -> list[GateResult]:
    """Search for titles of popular items: the words find something.

    What is found by meaning proves nothing: in a small catalogue that is every item.
    """
    popular = _find_popular(Query("search"), search, state).item_nums.tolist()
    titles = dict.fromkeys(state.catalogue[item].title for item in popular)
    texts = [title for title in titles if normalise(title) and len(title) <= _LONGEST][:ASKED]
    if WordSource.name not in search.sources or not texts:
        return []
    queries = [Query("search", text, meant=state.searcher.correct_text(text)) for text in texts]
    vectors = encode([query.searched for query in queries])
    queries = [query.with_text_vector(row) for query, row in zip(queries, vectors, strict=True)]
    answers = run(queries, search, state)
    found = [answer.trace.get(_BY_WORDS, 0) > 0 and len(answer.items) > 0 for answer in answers]
    return [_judge("search finds titles", "titles of popular items find something", found, answers)]


def _check_similar(state: EngineState, similar: SurfaceConfig) -> list[GateResult]:
    """Ask for items like popular ones: the retriever has some, unless all items are the same."""
    popular = _find_popular(Query("similar"), similar, state).item_nums
    content = state.features.content[popular]
    if RETRIEVER not in similar.sources or not len(popular) or (content == content[0]).all():
        return []
    queries = [Query("similar", source_items=popular[row : row + 1]) for row in range(ASKED)]
    asked = [query for query in queries if len(query.source_items)]
    answers = run(asked, similar, state)
    found = [len(answer.items) > 0 for answer in answers]
    return [_judge("shows similar items", "popular items have similar ones", found, answers)]


def _judge(name: str, said: str, found: Sequence[bool], answers: Sequence[Result]) -> GateResult:
    """Whether most requests found what they should, and no stage failed in any."""
    failed = _describe_failed(answers)
    passed = 2 * sum(found) > len(found) and not failed
    return GateResult(name, passed, f"{sum(found)} of {len(found)} {said}{failed}")


def _describe_failed(answers: Sequence[Result]) -> str:
    failed = sorted({name for answer in answers for name in answer.degraded})
    return f"; failed: {', '.join(failed)}" if failed else ""


def _find_popular(query: Query, surface: SurfaceConfig, state: EngineState) -> ItemList:
    """The most popular items that the filters of a surface let through."""
    stages = SurfaceStages.of(surface)
    *_, (_, allowed) = restrict(query, visible_to(surface, query), stages, state)
    return list_popular(allowed, state, _POPULAR)
