"""The parts ``suggestions``, ``rewrites`` and ``relevance``, which need no training of the models.

Suggestions and rewrites are made of the word index of the models; relevance models leave out
irrelevant items by the texts of all items.
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
    REWRITES,
    SUGGESTIONS,
    open_table,
    save_relevance,
    save_suggestions,
)
from serendip.evaluate.decision import DECISIONS, write_decisions
from serendip.jobs.relevance.decisions import decide_filters
from serendip.jobs.relevance.model import REPORTS, RelevanceTexts, open_distilled
from serendip.jobs.rewrites import build_rewrites
from serendip.jobs.suggestions.build import (
    build_suggestions,
    hash_written_queries,
    read_written_queries,
)
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.parts.plan import Part, PartInputs
from serendip.runtime.atomic_files import hash_files
from serendip.search.searcher import Searcher
from serendip.search.values import ValueTable


def build_table_of_suggestions(inputs: PartInputs) -> Mapping[str, Any]:
    """Build verified suggestions and the model that ranks them."""
    context, log, searcher = inputs.context, inputs.context.query_log, _plain(inputs)
    with context.clock.stage("suggested queries"):
        written = read_written_queries(context.workspace, log.dataset.catalogue)
        table, report = build_suggestions(context, searcher, written)
        ranker = train_query_ranker(table, searcher.titles, log, context.options.seed)
    save_suggestions(table, ranker, inputs.folder)
    return {"queries": {**report, "ranker_learned_from": ranker.learned_from}}


def read_suggestions(inputs: PartInputs) -> Mapping[str, Any]:
    """What suggestions are made from besides the models."""
    return {
        "[queries]": inputs.context.settings.queries.model_dump(mode="json"),
        "written queries": hash_written_queries(inputs.context.workspace),
    }


def read_rewrites(inputs: PartInputs) -> Mapping[str, Any]:
    """What rewrites are made from besides the models and the suggestions."""
    path = inputs.context.workspace.synonyms
    return {"synonyms": hash_files([path]) if path.exists() else ""}


def build_table_of_rewrites(inputs: PartInputs) -> Mapping[str, Any]:
    """Build rewrites of queries."""
    queries = open_table(inputs.models, SUGGESTIONS, inputs.folder).queries
    with inputs.context.clock.stage("rewrites"):
        rewrites, facts = build_rewrites(_plain(inputs), queries, inputs.context)
    rewrites.save(inputs.folder / REWRITES)
    return {"rewrites": facts}


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
    Part(REWRITES, (MODELS, SUGGESTIONS), read_rewrites, build_table_of_rewrites),
    Part(RELEVANCE, (CONTENT,), read_relevance, build_relevance),
)
