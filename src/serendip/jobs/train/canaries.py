"""Canary requests: a new generation must answer what the first visitors of a shop would ask."""

from __future__ import annotations

from collections.abc import Sequence

from serendip.data.text import normalise
from serendip.engine.answer import Answer
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.sources import WordSource
from serendip.engine.stages.surfaces import RETRIEVER, SurfaceConfig
from serendip.evaluate.decision import Decision

ASKED = 5
"""Number of items that a surface is asked about. Most of them must have an answer, not all: a title
of signs alone, or an item that is like no other one, proves nothing about a generation."""

_POPULAR = 50
"""First items of a new visitor's home that the asked ones are chosen from."""

_BY_WORDS = WordSource().trace_key

_LONGEST = 200
"""Longer titles are no texts that people type."""


def check_answers(engine: Engine) -> list[Decision]:
    """Check that home, search and similar items answer, and that no stage fails in them.

    Returns:
        one result for each surface that the items allow to ask; a surface that is configured for
        other requests is not asked.
    """
    surfaces = engine.settings.all_surfaces()
    home = engine.recommend(Request("home", k=_POPULAR, reasons=False))
    shown = [item.item_id for item in home.items]
    results = [
        Decision.gate(
            "answers a new visitor",
            len(shown) > 0 and not home.degraded,
            f"{len(shown)} items for home{_describe_failed([home])}",
        )
    ]
    if surfaces["search"].needs == "query":
        results += _check_search(engine, surfaces["search"], shown)
    if surfaces["similar"].needs == "items":
        results += _check_similar(engine, surfaces["similar"], shown)
    return results


def _check_search(engine: Engine, search: SurfaceConfig, shown: Sequence[str]) -> list[Decision]:
    """Search for titles of popular items: the words find something.

    What is found by meaning proves nothing: in a small catalogue that is every item.
    """
    items = [item for item in map(engine.item, shown) if item is not None]
    titles = dict.fromkeys(item.title for item in items)
    texts = [title for title in titles if normalise(title) and len(title) <= _LONGEST][:ASKED]
    if WordSource.name not in search.sources or not texts:
        return []
    requests = [Request("search", text=text, reasons=False) for text in texts]
    answers = [engine.recommend(request) for request in requests]
    found = [
        bool(answer.items)
        and engine.explain(request, answer.items[0].item_id).trace.get(_BY_WORDS, 0) > 0
        for request, answer in zip(requests, answers, strict=True)
    ]
    return [_judge("search finds titles", "titles of popular items find something", found, answers)]


def _check_similar(engine: Engine, similar: SurfaceConfig, shown: Sequence[str]) -> list[Decision]:
    """Ask for items like popular ones: the retriever has some, unless all items are the same."""
    state = engine.state
    content = state.features.content[state.catalogue.vocabulary.numbers(shown)]
    if RETRIEVER not in similar.sources or not shown or (content == content[0]).all():
        return []
    answers = [engine.similar(item_id, reasons=False) for item_id in shown[:ASKED]]
    found = [len(answer.items) > 0 for answer in answers]
    return [_judge("shows similar items", "popular items have similar ones", found, answers)]


def _judge(name: str, said: str, found: Sequence[bool], answers: Sequence[Answer]) -> Decision:
    """Whether most requests found what they should, and no stage failed in any."""
    failed = _describe_failed(answers)
    passed = 2 * sum(found) > len(found) and not failed
    return Decision.gate(name, passed, f"{sum(found)} of {len(found)} {said}{failed}")


def _describe_failed(answers: Sequence[Answer]) -> str:
    failed = sorted({name for answer in answers for name in answer.degraded})
    return f"; failed: {', '.join(failed)}" if failed else ""
