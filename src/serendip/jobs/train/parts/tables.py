"""The parts ``suggestions``, rewrites included, and ``relevance``, which train no model of items.

Suggestions are made of the word index of the models; relevance models leave out irrelevant items by
the texts of all items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serendip.data.items.catalogue import open_catalogue
from serendip.engine.state_parts import (
    CONTENT,
    MODELS,
    RELEVANCE,
    SUGGESTIONS,
    save_relevance,
    save_suggestions,
)
from serendip.evaluate.decision import DECISIONS, write_decisions
from serendip.jobs.relevance.decisions import decide_filters
from serendip.jobs.relevance.model import REPORTS, RelevanceTexts, open_distilled
from serendip.jobs.suggestions.build import (
    build_suggestions,
    hash_written_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.search.names import ValueTable
from serendip.search.rewrites import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import Blocklist


def build_table_of_suggestions(inputs: PartInputs) -> Mapping[str, Any]:
    """Build verified suggestions, the model that ranks them, and rewrites of queries."""
    context, log, searcher = inputs.context, inputs.context.query_log, _plain(inputs)
    with context.clock.stage("suggested queries"):
        written = read_written_queries(context.workspace, log.dataset.catalogue)
        table, report = build_suggestions(context, searcher, written)
        ranker = train_query_ranker(table, searcher.titles, log, context.options.seed)
        config = context.settings.queries
        is_safe = Blocklist.of(config.unsafe_words).allows
        rewrites = RewriteTable.of(log.searches, searcher.matcher, config.min_users, is_safe)
    save_suggestions(table, ranker, rewrites, inputs.folder)
    learned_from, known = ranker.learned_from, len(rewrites.head)
    return {"queries": {**report, "ranker_learned_from": learned_from, "rewrites": known}}


def read_suggestions(inputs: PartInputs) -> Mapping[str, Any]:
    """What suggestions are made from besides the models."""
    return {
        "[queries]": inputs.context.settings.queries.model_dump(mode="json"),
        "written queries": hash_written_queries(inputs.context.workspace),
    }


def _plain(inputs: PartInputs) -> Searcher:
    return replace(inputs.models.searcher, values=ValueTable.of(()))


def build_relevance(inputs: PartInputs) -> Mapping[str, Any]:
    """Carry the relevance models on, with the texts of all items where a surface filters."""
    context, items = inputs.context, None
    models = {**open_distilled(inputs.current), **inputs.distilled}
    reports = {labels: model.report for labels, model in models.items()}
    filters, proven, used = decide_filters(context, reports)
    if used:
        with context.clock.stage("relevance model"):
            catalogue = open_catalogue(inputs.folder / CONTENT)
            items = RelevanceTexts(context).items(catalogue.items, context.options.progress)
    learned = {labels: model.learned for labels, model in models.items()}
    save_relevance(learned, used, proven, items, inputs.folder)
    return {REPORTS: reports, DECISIONS: {RELEVANCE: write_decisions([*filters.values()])}}


def read_relevance(inputs: PartInputs) -> Mapping[str, Any]:
    """What filters are made from, besides the items.

    Raises:
        DataError: a surface names a threshold, and there is no model, or it was trained on other
            fields or with another encoder.
    """
    before = {} if inputs.current is None else inputs.current.manifest.get(REPORTS, {})
    new = {labels: model.report for labels, model in inputs.distilled.items()}
    filters, _, _ = decide_filters(inputs.context, {**before, **new})
    return {
        "filters": write_decisions([*filters.values()]),
        "relevance models": {**before, **new},
        "texts of items": RelevanceTexts(inputs.context).reads,
    }


TABLES = (
    Part(SUGGESTIONS, (MODELS,), read_suggestions, build_table_of_suggestions),
    Part(RELEVANCE, (CONTENT,), read_relevance, build_relevance),
)
