"""``serendip train``: fit -> relevance -> suggestions -> rewrites -> gates -> publish."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from serendip.content.semantic_ids.kmeans import quality
from serendip.data.dataset import Dataset
from serendip.engine.generations import publish
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.versions import configured_version, load_relevance_model
from serendip.jobs.rewrites.build import rewrites_of_state
from serendip.jobs.semantic_ids.build import build_ids
from serendip.jobs.semantic_ids.versions import IdVersion, current_version
from serendip.jobs.suggestions.build import SuggestionBuilder, written_queries
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.train.carry_over import SPACE_FOLDER, PreviousCodes, id_facts, next_space
from serendip.jobs.train.fingerprint import fingerprint
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.gates import run_gates
from serendip.jobs.train.ranker_actions import require_actions
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.versions import Version


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A generation before it is published.

    Args:
        state: what will be served.
        relevance: the relevance model that surfaces are configured with; None = none is.
        facts: for the manifest.
    """

    state: EngineState
    relevance: Version | None
    facts: Mapping[str, Any]

    def with_facts(self, state: EngineState, **facts: Any) -> Draft:
        """The draft after a step, with another state and further facts."""
        return replace(self, state=state, facts={**self.facts, **facts})


def train_workspace(context: JobContext) -> Version:
    """Fit everything on all data of the database and publish it.

    Raises:
        ConfigError: the ranker is to predict an action that does not occur.
        DataError: the catalogue is empty, or the new generation fails a gate; the published one
            stays.
    """
    with tempfile.TemporaryDirectory() as scratch:
        draft = fit(context, Path(scratch))
        for step in (add_relevance_model, add_suggestions, add_rewrites, pass_gates):
            draft = step(context, draft)
        return publish_draft(context, draft)


def fit(context: JobContext, scratch: Path) -> Draft:
    """Fit features, models, word index and ranker on the snapshot of the database.

    Args:
        context: workspace, options and clock.
        scratch: folder for word indexes, needed until the draft is published.
    """
    with context.clock.stage("snapshot"):
        dataset = context.log.dataset
    require_actions(dataset, context.settings.ranker.actions)
    relevance = configured_version(context.workspace)
    version, earlier = _previous_ids(context)
    fitter = replace(Fitter.of(context, scratch), version=version, earlier=earlier)
    media = fitter.media_reports(dataset, context.options)
    state = fitter.fit(dataset, "all", context.options)
    facts = {
        "item_version": context.snapshot.item_version,
        "event_seq": context.snapshot.event_seq,
        "seed": context.options.seed,
        **_data_facts(dataset),
        "semantic_ids": {
            **asdict(quality(state.features.codes, state.features.codebook_size)),
            **id_facts(version, earlier, state.features.codes, dataset.catalogue),
        },
        "media": {name: report.as_dict() for name, report in media.items()},
        "relevance_model": relevance.name if relevance else None,
        "settings": context.settings.learned_from(),
    }
    return Draft(state, relevance, facts)


def add_relevance_model(context: JobContext, draft: Draft) -> Draft:
    """Take over the distilled relevance model, where a surface filters by it."""
    if draft.relevance is None:
        return draft
    with context.clock.stage("judge of matches"):
        model = load_relevance_model(context, draft.relevance, context.dataset.catalogue.items)
        return replace(draft, state=draft.state.with_relevance_model(model))


def add_suggestions(context: JobContext, draft: Draft) -> Draft:
    """Add verified suggested queries and the model that ranks them."""
    with context.clock.stage("suggested queries"):
        state, log = draft.state, context.log
        written = written_queries(context.workspace, state.catalogue)
        config = context.settings.queries
        builder = SuggestionBuilder(state.catalogue, state.counts, state.searcher, config, written)
        built = builder.build(log.searches, context.options.progress)
        ranker = train_query_ranker(built.table, state.searcher.titles, log, context.options.seed)
        facts = {**built.report, "ranker_learned_from": ranker.learned_from}
        return draft.with_facts(state.with_queries(built.table, ranker), queries=facts)


def add_rewrites(context: JobContext, draft: Draft) -> Draft:
    """Add the table of query rewrites."""
    with context.clock.stage("rewrites"):
        table, facts = rewrites_of_state(draft.state, context)
        return draft.with_facts(draft.state.with_rewrites(table), rewrites=facts)


def pass_gates(context: JobContext, draft: Draft) -> Draft:
    """Run the gates.

    Raises:
        DataError: one failed.
    """
    digest = fingerprint(context.workspace, context.options.seed)
    gates = run_gates(draft.state, context.workspace, digest)
    return draft.with_facts(draft.state, fingerprint=digest, gates=gates)


def publish_draft(context: JobContext, draft: Draft) -> Version:
    """Align the vectors with those of the current generation, then publish."""
    generations = context.workspace.generations
    space, facts = next_space(generations, draft.state)
    with context.clock.stage("publish"):
        save = partial(_save, draft.state, space)
        return publish(generations, save, {**draft.facts, "space": facts})


def _save(state: EngineState, space: VectorSpace | None, folder: Path) -> None:
    state.save(folder)
    if space is not None:
        space.save(folder / SPACE_FOLDER)


def _previous_ids(context: JobContext) -> tuple[IdVersion | None, PreviousCodes | None]:
    """The built IDs with new items appended, if any, and the codes of the current generation."""
    workspace = context.workspace
    has_ids = current_version(workspace.semantic_ids) is not None
    version = build_ids(context)[0] if has_ids else None
    return version, PreviousCodes.of_current(workspace.generations, workspace.settings)


def _data_facts(dataset: Dataset) -> dict[str, Any]:
    """Time of the last event, and counts; generated texts are counted where there are any."""
    events = dataset.events
    counts = {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "events": len(events),
    }
    written = sum(bool(item.generated_text) for item in dataset.catalogue.items)
    return {
        "data_cut": float(events.timestamps[-1]) if len(events) else None,
        "counts": {**counts, "written": written} if written else counts,
    }
