"""The parts ``suggestions`` and ``rewrites``: what a generation makes of its word index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.rewrites.build import build_rewrites
from serendip.jobs.suggestions.build import (
    build_suggestions,
    hash_written_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.draft import Draft
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.runtime.atomic_files import hash_files
from serendip.search.rewrites.table import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.values import ValueTable


def build_table_of_suggestions(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Build verified suggestions and the model that ranks them."""
    assert draft is not None
    context, log, searcher = inputs.context, inputs.context.log, _plain(draft.state)
    with context.clock.stage("suggested queries"):
        written = read_written_queries(context.workspace, log.dataset.catalogue)
        built = build_suggestions(context, searcher, written)
        ranker = train_query_ranker(built.table, searcher.titles, log, context.options.seed)
    facts = {**built.report, "ranker_learned_from": ranker.learned_from}
    state = replace(draft.state, queries=built.table, query_ranker=ranker)
    return draft.with_state(state, queries=facts)


def read_suggestions(context: JobContext) -> Mapping[str, Any]:
    """What suggestions are made from besides the models."""
    return {
        "[queries]": context.settings.queries.model_dump(mode="json"),
        "written queries": hash_written_queries(context.workspace),
    }


def read_rewrites(context: JobContext) -> Mapping[str, Any]:
    """What rewrites are made from besides the models and the suggestions."""
    path = context.workspace.synonyms
    return {"synonyms": hash_files([path]) if path.exists() else ""}


def build_table_of_rewrites(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Build rewrites of queries."""
    assert draft is not None
    with inputs.context.clock.stage("rewrites"):
        rewrites, facts = build_rewrites(_plain(draft.state), draft.state.queries, inputs.context)
    return draft.with_state(draft.state.with_rewrites(rewrites), rewrites=facts)


def _plain(state: EngineState) -> Searcher:
    """Word search by words alone."""
    return state.searcher.with_rewrites(RewriteTable()).with_values(ValueTable.of(()))


SUGGESTIONS = Part("suggestions", ("models",), read_suggestions, build_table_of_suggestions)
REWRITES = Part("rewrites", ("models", "suggestions"), read_rewrites, build_table_of_rewrites)
