"""``serendip train``: fit, suggestions and rewrites -> relevance -> gates -> publish."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from serendip.content.semantic_ids.kmeans import measure_code_quality
from serendip.data.dataset import Dataset
from serendip.data.items.quality import QUALITIES
from serendip.data.items.starts import find_starts
from serendip.engine.artefacts.erasure import remove_remains
from serendip.engine.artefacts.generations import (
    ERASED,
    ERASED_ITEMS,
    ITEM_VERSION,
    REMOVALS,
    publish,
)
from serendip.engine.artefacts.quality_report import REPORT_JSON
from serendip.engine.artefacts.training_record import (
    FAILED,
    PUBLISHED,
    REFUSED,
    TRAINING_STATUS_FILE,
    Result,
    TrainingRecord,
)
from serendip.engine.engine import Engine
from serendip.engine.stages.surfaces import RETRIEVER
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import GateError, SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.plausibility import require_plausible_labels
from serendip.jobs.lists.gate import (
    LISTS_FILE,
    check_rejected,
    measure_generation,
    record_lists,
)
from serendip.jobs.relevance.decisions import (
    FILTERS_KEY,
    MODELS_KEY,
    decide_filters,
    decisions_as_dict,
    proven_thresholds,
    read_decisions,
)
from serendip.jobs.relevance.versions import load_relevance_models, require_same_fields
from serendip.jobs.rewrites.build import build_rewrites
from serendip.jobs.semantic_ids.build import extend_built_ids
from serendip.jobs.semantic_ids.versions import IdVersion
from serendip.jobs.suggestions.build import SuggestionBuilder, read_written_queries
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.jobs.surface_quality.record import RECORD_FILE, QualityRecord
from serendip.jobs.train.canaries import check_answers
from serendip.jobs.train.carry_over import SPACE_FOLDER, PreviousCodes, continue_space, describe_ids
from serendip.jobs.train.drift import newest_profile
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.gates import (
    GateResult,
    check_budget,
    check_integrity,
    check_kept_items,
    check_regression,
    check_report,
    require_passed,
)
from serendip.jobs.train.older_fit import OLDER_FOLDER, OlderFit
from serendip.jobs.train.quality_recorder import QualityRecorder
from serendip.jobs.train.ranker.actions import require_actions
from serendip.jobs.train.warm_start import choose_start, describe_encoder
from serendip.jobs.train.written_queries import (
    MANIFEST_KEY,
    WrittenQueryUse,
    check_written_queries,
)
from serendip.models.embedding_space import VectorSpace
from serendip.models.ranker.search_order import SearchOrder
from serendip.models.retriever.model import Retriever, RetrieverGroups
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.extras import require_training
from serendip.runtime.job_status import FileProgress
from serendip.runtime.progress import BothProgress
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.versions import Version
from serendip.search.rewrites.table import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.ranker import QueryRanker
from serendip.search.suggestions.table import QueryTable

PLAN = (
    *(("snapshot", 2.0), ("content vectors", 10.0), ("train retriever", 50.0)),
    *(("train ranker", 15.0), ("train retriever", 12.0), ("suggested queries", 5.0)),
    ("publish", 6.0),
)
"""Long stages of a training and their seconds on the demo's data; only for the time left."""

_ALL = "all"
_log = logging.getLogger(__name__)

FORCED_FILE = "forced.jsonl"
"""File in the folder of reports: one line for each failed gate of a generation that was published
in spite of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A generation before it is published.

    Args:
        relevance: versions of the relevance models that surfaces filter by, by the surface of their
            labels.
        facts: for the manifest.
        older: for the next training to continue from; None = there were too few data.
        record: answers of the fit on the older part; None = the data are too few.
        lists: what people see of it; None = it was not measured.
        gates: results of all gates.
    """

    state: EngineState
    relevance: Mapping[str, Version]
    facts: Mapping[str, Any]
    older: OlderFit | None = None
    record: QualityRecord | None = None
    lists: QualityRecord | None = None
    gates: Sequence[GateResult] = ()

    def with_facts(self, state: EngineState, **facts: Any) -> Draft:
        """A copy with another state and additional facts."""
        return replace(self, state=state, facts={**self.facts, **facts})


def train_workspace(
    context: JobContext,
    warm: bool = False,
    reasons: Sequence[str] = (),
    force: bool = False,
) -> Version:
    """Train a generation on all data of the database and publish it.

    One process at a time trains. While it runs, ``training/status.json`` says how far it is; how it
    ended is in ``training/last.json``.

    Args:
        context: workspace, seed, progress, time, and the executor that fits parts that do not need
            each other; the generation is the same with each.
        warm: continue from the generation in force if that is possible (``warm_start``).
        reasons: why the training is due, for the record; empty = a person asked for it.
        force: publish although a gate fails; that is logged, and noted in ``reports/forced.jsonl``.

    Raises:
        ConfigError: a target action of the ranker does not occur in its training data.
        DataError: the catalogue is empty.
        ExtraMissing: a package of the extra ``train`` is not installed.
        GateError: the new generation fails a gate; the published generation then stays in use.
        StorageError: another process is training, or the lock that says so was lost; nothing is
            published then.
    """
    folder = context.workspace.training
    status = FileProgress(folder / TRAINING_STATUS_FILE, PLAN)
    options, clock = context.options, context.clock
    shown = replace(
        context,
        options=replace(options, progress=BothProgress(options.progress, status)),
        clock=replace(clock, progress=BothProgress(clock.progress, status)),
    )
    with (
        exclusive_lock(folder),
        context.workspace.exclusive("training") as require_held,
        status.job(),
        _recorded_failure(folder, reasons),
    ):
        require_training()
        with scratch_folder(folder) as scratch:
            draft = fit(shown, scratch, warm)
            for step in (add_relevance_models, run_gates):
                draft = step(shown, draft)
            if not force:
                require_passed(draft.gates)
            generation = publish_draft(shown, draft, require_held)
        note_forced(context.workspace, generation, draft.gates)
        TrainingRecord(PUBLISHED, generation.name, reasons=reasons).write(folder)
    remove_remains(str(context.workspace.folder))
    return generation


@contextmanager
def _recorded_failure(folder: Path, reasons: Sequence[str]) -> Iterator[None]:
    """Record an error in a ``with`` block; an interruption is none."""
    try:
        yield
    except Exception as error:
        result: Result = REFUSED if isinstance(error, GateError) else FAILED
        is_ours = isinstance(error, SerendipError)
        message = str(error) if is_ours else f"{type(error).__name__}: {error}"
        TrainingRecord(result, message=message, reasons=reasons).write(folder)
        raise


def fit(context: JobContext, scratch: Path, warm: bool = False) -> Draft:
    """Fit features, models, word index and ranker on the snapshot of the database.

    Word indexes are written to ``scratch``, which must exist until the draft is published.
    """
    with context.clock.stage("snapshot"):
        context.pack_log()
        dataset = context.log.dataset
    require_actions(dataset, context.settings.ranker.actions)
    labels = [context.workspace.folder / name for name in context.settings.ranker.searches.labels]
    require_plausible_labels(context, dataset.catalogue, labels)
    filters, relevance = decide_filters(context)
    require_same_fields(context, relevance.values())
    version, earlier = _open_previous_ids(context)
    start = choose_start(context, warm)
    fitter = replace(
        Fitter.of(context, scratch),
        version=version,
        earlier=earlier,
        previous=start.previous,
        on_older=QualityRecorder(context),
    )
    media = fitter.check_media(dataset, context.options)
    tables = WordTables(context)
    fitted = fit_engine(fitter, dataset, _ALL, context.options, tables.build)
    state = tables.add_to(fitted.state)
    facts = {
        ITEM_VERSION: context.snapshot.item_version,
        "event_seq": context.snapshot.event_seq,
        REMOVALS: context.snapshot.event_removals,
        ERASED: context.snapshot.last_erasure,
        ERASED_ITEMS: context.snapshot.last_item_erasure,
        "seed": context.options.seed,
        "engine": context.options.executor.name,
        **_data_facts(dataset),
        "semantic_ids": {
            **asdict(measure_code_quality(state.features.codes, state.features.codebook_size)),
            **describe_ids(version, earlier, state.features.codes, dataset.catalogue),
        },
        "media": {name: report.as_dict() for name, report in media.items()},
        MODELS_KEY: {labels: version.name for labels, version in relevance.items()},
        FILTERS_KEY: decisions_as_dict(filters),
        "settings": context.settings.learned_from(),
        "encoder": describe_encoder(context),
        "warm_start": start.as_dict(),
        "quality": _quality_facts(state),
        "search": _search_order(state).as_dict(),
        MANIFEST_KEY: asdict(
            WrittenQueryUse.of(context.workspace, context.settings, dataset.catalogue)
        ),
        "budget": context.budget.as_dict(),
        **tables.facts,
    }
    facts["context"] = fitted.choice.as_dict()
    older = fitted.older
    if older is None:
        return Draft(state, relevance, facts)
    return Draft(state, relevance, facts, older.fit, older.record)


def add_relevance_models(context: JobContext, draft: Draft) -> Draft:
    """Add the distilled relevance models that surfaces filter by."""
    if not draft.relevance:
        return draft
    with context.clock.stage("relevance model"):
        models = load_relevance_models(context, draft.relevance, context.dataset.catalogue)
        proven = proven_thresholds(context, read_decisions(draft.facts))
        return replace(draft, state=draft.state.with_relevance_models(models, proven))


class WordTables:
    """Suggested queries and rewrites: what a generation makes of its word index.

    Args:
        context: items, log and settings.

    Attributes:
        facts: for the manifest.
    """

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._queries, self._ranker = QueryTable.empty(), QueryRanker.prior()
        self._rewrites = RewriteTable()
        self.facts: dict[str, Any] = {}

    def build(self, searcher: Searcher) -> None:
        """Build verified suggestions, the model that ranks them, and rewrites of queries."""
        context, log = self._context, self._context.log
        clock, config = context.clock, context.settings.queries
        catalogue, counts = log.dataset.catalogue, log.dataset.item_counts()
        with clock.stage("suggested queries"):
            written = read_written_queries(context.workspace, catalogue)
            starts = find_starts(log.dataset)
            builder = SuggestionBuilder.of(catalogue, counts, searcher, config, written, starts)
            built = builder.build(log.searches, context.options.progress)
            seed = context.options.seed
            self._queries = built.table
            self._ranker = train_query_ranker(built.table, searcher.titles, log, seed)
            learned_from = self._ranker.learned_from
            self.facts["queries"] = {**built.report, "ranker_learned_from": learned_from}
        with clock.stage("rewrites"):
            self._rewrites, facts = build_rewrites(searcher, built.table, context)
            self.facts["rewrites"] = facts

    def add_to(self, state: EngineState) -> EngineState:
        """A copy of a state of the same items with the tables."""
        return state.with_queries(self._queries, self._ranker).with_rewrites(self._rewrites)


def run_gates(context: JobContext, draft: Draft) -> Draft:
    """Run all gates and add their results to the facts."""
    workspace, settings = context.workspace, context.settings
    digest = compute_fingerprint(workspace, context.options.seed)
    with closing(workspace.open_store()) as store:
        deleted = store.items_deleted_by_api()

    with context.clock.stage("gates"), closing(_open_draft(context, draft)) as engine:
        gates = [
            check_integrity(draft.state),
            *check_kept_items(
                draft.state.catalogue.vocabulary,
                deleted,
                workspace.generations,
                settings.gate.least_kept_items,
            ),
            *check_answers(engine),
            *check_budget(context.budget, draft.state.models),
            *check_report(workspace.reports / REPORT_JSON, digest),
            *check_regression(draft.record, workspace.generations, settings.gate.margin),
            *check_written_queries(
                WrittenQueryUse.of_manifest(draft.facts),
                draft.record,
                workspace.generations,
                [name for name, one in settings.all_surfaces().items() if one.task == "search"],
            ),
        ]
        if settings.gate.list_requests and all(gate.passed for gate in gates):
            measured = measure_generation(engine, context.dataset, settings.gate.list_requests)
            draft = replace(draft, lists=record_lists(measured))
            gates += check_rejected(measured)
            gates += check_regression(
                *(draft.lists, workspace.generations, settings.gate.list_margin),
                *(LISTS_FILE, "list_margin"),
            )
    facts = {"fingerprint": digest, "gates": [asdict(gate) for gate in gates]}
    return replace(draft.with_facts(draft.state, **facts), gates=gates)


def _open_draft(context: JobContext, draft: Draft) -> Engine:
    """An engine that answers from a draft as a service would."""
    workspace = context.workspace
    state = draft.state.with_synonyms(workspace.accepted_synonyms())
    generation = Version(Path("draft"), draft.facts)
    return Engine.of_state(workspace, generation, state, context.encoder)


def note_forced(workspace: Workspace, generation: Version, gates: Sequence[GateResult]) -> None:
    """Log the failed gates of a published generation, and add a line to the record of such."""
    for gate in gates:
        if gate.passed:
            continue
        _log.warning(
            "%s is published by force: it fails the gate %r (%s)",
            generation.name,
            gate.name,
            gate.detail,
        )
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds")}
        line |= {"generation": generation.name, "gate": gate.name, "detail": gate.detail}
        workspace.reports.mkdir(exist_ok=True)
        with (workspace.reports / FORCED_FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def publish_draft(context: JobContext, draft: Draft, require_held: Callable[[], None]) -> Version:
    """Align the vector space with the published generation, then publish.

    Args:
        context: of the training.
        draft: that is published.
        require_held: raises an error if the lock of the training was lost; nothing is published
            then.
    """
    generations = context.workspace.generations
    space, facts = continue_space(generations, draft.state)
    with context.clock.stage("publish"):
        save = partial(_save, draft, space)
        with context.workspace.exclusive("generations") as require_alone:

            def require_both() -> None:
                require_held()
                require_alone()

            return publish(generations, save, {**draft.facts, "space": facts}, require_both)


def _save(draft: Draft, space: VectorSpace | None, folder: Path) -> None:
    """Write the artefacts of a generation."""
    draft.state.save(folder)
    if draft.older is not None:
        draft.older.save(folder / OLDER_FOLDER)
    if draft.record is not None:
        draft.record.save(folder / RECORD_FILE)
    if draft.lists is not None:
        draft.lists.save(folder / LISTS_FILE)
    if space is not None:
        space.save(folder / SPACE_FOLDER)


def _open_previous_ids(context: JobContext) -> tuple[IdVersion | None, PreviousCodes | None]:
    """The built IDs, extended by new items, and the codes of the published generation."""
    workspace = context.workspace
    version = extend_built_ids(context)
    return version, PreviousCodes.of_current(workspace.generations, workspace.settings)


def _quality_facts(state: EngineState) -> dict[str, float]:
    """Quality of items -> its weight in the score of the retriever; empty = it is not used."""
    model = state.models.get(RETRIEVER)
    vector = model.quality if isinstance(model, Retriever | RetrieverGroups) else None
    if vector is None or not vector.weights.any():
        return {}
    return dict(zip(QUALITIES, vector.weights.tolist(), strict=True))


def _search_order(state: EngineState) -> SearchOrder:
    return SearchOrder() if state.ranker is None else state.ranker.search_order


def _data_facts(dataset: Dataset) -> dict[str, Any]:
    """Time of the last event, popularity profile, and counts; those of generated parts if any."""
    events = dataset.events
    counts = {
        "items": dataset.num_items,
        "users": dataset.num_users,
        "events": len(events),
    }
    generated = {"written": 0, "generated_attributes": 0}
    for item in dataset.catalogue.items:
        generated["written"] += bool(item.generated_text)
        generated["generated_attributes"] += len(item.generated_attributes)
    return {
        "data_cut": float(events.timestamps[-1]) if len(events) else None,
        "counts": {**counts, **{name: count for name, count in generated.items() if count}},
        "popularity_profile": newest_profile(events, dataset.num_items),
    }
