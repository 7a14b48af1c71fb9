"""The parts ``suggestions``, rewrites included, and ``relevance``, which are made of the models.

Suggestions are made of their word index; relevance models leave out irrelevant items, with the
texts of all items.
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
    SUGGESTIONS,
    open_table,
)
from serendip.evaluate.decision import write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.decisions import MODELS_KEY, decide_filters
from serendip.jobs.relevance.versions import RelevanceTexts, load_relevance_models
from serendip.jobs.suggestions.build import (
    build_suggestions,
    hash_written_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.parts.plan import Draft, Part, PartInputs
from serendip.models.relevance.model import RelevanceModel
from serendip.runtime.versions import CHECKSUM, Version
from serendip.search.names import ValueTable
from serendip.search.rewrites import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import Blocklist


def build_table_of_suggestions(inputs: PartInputs, draft: Draft | None) -> Draft:
    """Build verified suggestions, the model that ranks them, and rewrites of queries."""
    assert draft is not None
    context, log, searcher = inputs.context, inputs.context.query_log, _plain(draft.models)
    with context.clock.stage("suggested queries"):
        written = read_written_queries(context.workspace, log.dataset.catalogue)
        table, report = build_suggestions(context, searcher, written)
        ranker = train_query_ranker(table, searcher.titles, log, context.options.seed)
        config = context.settings.queries
        is_safe = Blocklist.of(config.unsafe_words).allows
        rewrites = RewriteTable.of(log.searches, searcher.matcher, config.min_users, is_safe)
    facts = {**report, "ranker_learned_from": ranker.learned_from, "rewrites": len(rewrites.head)}
    known = replace(draft.models.searcher, rewrites=rewrites)
    state = replace(draft.models, queries=table, query_ranker=ranker, searcher=known)
    return replace(draft, state=state).with_facts(queries=facts)


def read_suggestions(context: JobContext, current: Version | None) -> Mapping[str, Any]:
    """What suggestions are made from besides the models."""
    return {
        "[queries]": context.settings.queries.model_dump(mode="json"),
        "written queries": hash_written_queries(context.workspace),
    }


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
    Part(RELEVANCE, (CONTENT,), read_relevance, build_relevance, _linked(RELEVANCE)),
)
