"""The parts ``suggestions``, ``rewrites`` and ``relevance``, which are made of the models.

Suggestions and rewrites are made of their word index; relevance models leave out irrelevant items,
with the texts of all items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from serendip.engine.state import EngineState
from serendip.engine.state_parts import (
    CONTENT,
    MODELS,
    RELEVANCE,
    REWRITES,
    SUGGESTIONS,
    open_table,
)
from serendip.evaluate.decision import write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.decisions import MODELS_KEY, decide_filters
from serendip.jobs.relevance.versions import RelevanceTexts, load_relevance_models
from serendip.jobs.rewrites import build_rewrites
from serendip.jobs.suggestions.build import (
    build_suggestions,
    hash_written_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.parts.plan import Draft, Part, PartInputs
from serendip.models.relevance.model import RelevanceModel
from serendip.runtime.atomic_files import hash_files
from serendip.runtime.versions import CHECKSUM, Version
from serendip.search.rewrites import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.values import ValueTable


def build_table_of_suggestions(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Build verified suggestions and the model that ranks them."""
    assert draft is not None
    context, log, searcher = inputs.context, inputs.context.query_log, _plain(draft.models)
    with context.clock.stage("suggested queries"):
        written = read_written_queries(context.workspace, log.dataset.catalogue)
        table, report = build_suggestions(context, searcher, written)
        ranker = train_query_ranker(table, searcher.titles, log, context.options.seed)
    facts = {**report, "ranker_learned_from": ranker.learned_from}
    state = replace(draft.models, queries=table, query_ranker=ranker)
    return replace(draft, state=state).with_facts(queries=facts)


def read_suggestions(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What suggestions are made from besides the models."""
    return {
        "[queries]": context.settings.queries.model_dump(mode="json"),
        "written queries": hash_written_queries(context.workspace),
    }


def read_rewrites(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What rewrites are made from besides the models and the suggestions."""
    path = context.workspace.synonyms
    return {"synonyms": hash_files([path]) if path.exists() else ""}


def build_table_of_rewrites(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Build rewrites of queries."""
    assert draft is not None
    with inputs.context.clock.stage("rewrites"):
        plain = _plain(draft.models)
        rewrites, facts = build_rewrites(plain, draft.models.queries, inputs.context)
    state = replace(draft.models, searcher=replace(draft.models.searcher, rewrites=rewrites))
    return replace(draft, state=state).with_facts(rewrites=facts)


def _plain(state: EngineState) -> Searcher:
    return replace(state.searcher, rewrites=RewriteTable(), values=ValueTable.of(()))


def build_relevance(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Add the distilled relevance models that surfaces filter by."""
    assert draft is not None
    context, models = inputs.context, dict[str, RelevanceModel]()
    filters, proven, versions = decide_filters(context)
    if versions:
        with context.clock.stage("relevance model"):
            models = load_relevance_models(context, versions, draft.models.catalogue)
    state = replace(draft.models, relevance_models=models, relevance_thresholds=proven)
    names = {MODELS_KEY: {labels: version.name for labels, version in versions.items()}}
    told = replace(draft, state=state).with_facts(**names)
    return told.with_decisions(RELEVANCE, [*filters.values()])


def read_relevance(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What the models are made from, besides the items.

    Raises:
        ArtefactError: a surface names a threshold, and its relevance model is damaged.
        DataError: a model was trained on other fields, or with another encoder.
        NotTrainedError: a surface names a threshold, and there is no model.
    """
    filters, _, versions = decide_filters(context)
    return {
        "filters": write_decisions([*filters.values()]),
        "relevance models": {
            labels: [version.name, version.manifest.get(CHECKSUM)]
            for labels, version in versions.items()
        },
        "texts of items": RelevanceTexts(context).reads,
    }


def _linked(part: str) -> Callable[[PartInputs, Draft | None, Version], Draft]:
    def link(inputs: PartInputs, draft: Draft | None, current: Version) -> Draft:
        assert draft is not None
        return replace(draft, state=open_table(draft.models, part, current.folder))

    return link


TABLES = (
    Part(
        SUGGESTIONS,
        (MODELS,),
        read_suggestions,
        build_table_of_suggestions,
        _linked(SUGGESTIONS),
    ),
    Part(
        REWRITES,
        (MODELS, SUGGESTIONS),
        read_rewrites,
        build_table_of_rewrites,
        _linked(REWRITES),
    ),
    Part(RELEVANCE, (CONTENT,), read_relevance, build_relevance, _linked(RELEVANCE)),
)
