"""``serendip train``: parts -> gates -> publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from serendip.engine.artefacts.erasure import remove_remains
from serendip.engine.artefacts.generations import open_in_force, publish
from serendip.engine.artefacts.training_record import (
    FAILED,
    PUBLISHED,
    REFUSED,
    TRAINING_STATUS_FILE,
    Result,
    TrainingRecord,
)
from serendip.engine.engine import Engine
from serendip.engine.state_parts import MODELS
from serendip.engine.workspace import REPORT_JSON
from serendip.errors import GateError, SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.lists.gate import LISTS_FILE, check_rejected, record_lists
from serendip.jobs.lists.survey import ListSurvey
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.gates import (
    check_answers,
    check_budget,
    check_integrity,
    check_kept_items,
    check_regression,
    check_report,
    failed_gates,
    require_passed,
)
from serendip.jobs.train.parts.content import CONTENT_PART
from serendip.jobs.train.parts.models import MODELS_PART
from serendip.jobs.train.parts.plan import Draft, PartInputs, PartPlan, build_parts, plan_parts
from serendip.jobs.train.parts.ranker import RANKER_PART, require_learnable
from serendip.jobs.train.parts.tables import TABLES
from serendip.jobs.train.space import continue_space
from serendip.runtime.atomic_files import exclusive_lock, scratch_folder
from serendip.runtime.extras import require_training
from serendip.runtime.progress import BothProgress, Progress, written_status
from serendip.runtime.versions import Version

_log = logging.getLogger(__name__)

PARTS = (CONTENT_PART, RANKER_PART, MODELS_PART, *TABLES)
"""Parts of a generation, each after those that it needs."""


def train_workspace(
    context: JobContext,
    *,
    warm: bool = False,
    reasons: Sequence[str] = (),
    force: bool = False,
    rebuild: bool = True,
    only: str = "",
) -> Version:
    """Train a generation on all data of the database and publish it.

    Without ``rebuild`` parts that would be the same are those of the generation in force; if all
    would be, nothing is published, and that one is returned.

    One process at a time trains. While it runs, ``training/status.json`` says what it does; how it
    ended is in ``training/last.json``.

    Args:
        context: workspace, seed, progress, time, and the executor that encodes new items; the
            generation is the same with each.
        warm: continue from the generation in force if that is possible (``continuation``).
        reasons: why the training is due, for the record; empty = a person asked for it.
        force: publish although a gate fails; that is logged, and in its manifest.
        rebuild: build all parts, whatever has changed.
        only: build this part, and those that are made of it; empty = what has changed.

    Raises:
        ConfigError: not only the part has changed that is to be built alone, or a target action of
            the ranker does not occur in its training data.
        DataError: the catalogue is empty.
        ExtraMissing: a package of the extra ``train`` is not installed.
        GateError: the new generation fails a gate; the published generation then stays in use.
        StorageError: another process is training, or the lock that says so was lost; nothing is
            published then.
    """
    folder = context.workspace.training
    with (
        exclusive_lock(folder),
        context.workspace.exclusive("training") as require_held,
        written_status(folder / TRAINING_STATUS_FILE) as status,
        _recorded_failure(folder, reasons),
    ):
        shown = _show_in(context, status)
        require_training()
        with scratch_folder(folder) as scratch:
            current = open_in_force(context.workspace.generations)
            with context.workspace.open_store() as store:
                store.pack()
            plans = plan_training(shown, rebuild, only, current)
            if current is not None and not any(plan.reason for plan in plans.values()):
                TrainingRecord(PUBLISHED, current.name, reasons=reasons).write(folder)
                return current
            if plans[RANKER_PART.name].reason:
                require_learnable(shown)
            inputs = PartInputs(shown, scratch, current, warm)
            draft = run_gates(shown, build_parts(PARTS, plans, inputs))
            if not force:
                require_passed(draft.decisions)
            generation = publish_draft(shown, draft, require_held)
        for gate in failed_gates(draft.decisions):
            told = (generation.name, gate.name, gate.reason)
            _log.warning("%s is published by force: it fails the gate %r (%s)", *told)
        TrainingRecord(PUBLISHED, generation.name, reasons=reasons).write(folder)
    remove_remains(str(context.workspace.folder))
    return generation


def _show_in(context: JobContext, progress: Progress) -> JobContext:
    options, clock = context.options, context.clock
    return replace(
        context,
        options=replace(options, progress=BothProgress(options.progress, progress)),
        clock=replace(clock, progress=BothProgress(clock.progress, progress)),
    )


def plan_training(
    context: JobContext, rebuild: bool, only: str, current: Version | None
) -> dict[str, PartPlan]:
    """What a training would build now: name of each part -> whether, and why.

    Raises:
        ConfigError: there is no part ``only``, or not only that has changed.
        SerendipError: something that a part reads cannot be read.
    """
    with context.clock.stage("snapshot"):
        context.require_items()
    return plan_parts(PARTS, context, current, rebuild and not only, only)


@contextmanager
def _recorded_failure(folder: Path, reasons: Sequence[str]) -> Iterator[None]:
    # An interruption is no error.
    try:
        yield
    except Exception as error:
        result: Result = REFUSED if isinstance(error, GateError) else FAILED
        is_ours = isinstance(error, SerendipError)
        message = str(error) if is_ours else f"{type(error).__name__}: {error}"
        TrainingRecord(result, message=message, reasons=reasons).write(folder)
        raise


def run_gates(context: JobContext, draft: Draft) -> Draft:
    """Run all gates and add their results to the facts.

    They ask an engine of the draft as it would answer now, which has read what came since.
    """
    workspace, settings = context.workspace, context.settings
    digest = compute_fingerprint(workspace, context.options.seed)
    current = open_in_force(workspace.generations, verify=False)
    with workspace.open_store() as store:
        deleted = store.items_deleted_by_api()

    state = draft.served.with_synonyms(workspace.accepted_synonyms())
    version, encoder = Version(Path("draft"), draft.facts), context.encoder
    opened = Engine.of_version(workspace, version, state=state, encoder=encoder)
    with context.clock.stage("gates"), opened as engine:
        gates = [
            check_integrity(state),
            *check_kept_items(
                state.catalogue.vocabulary,
                deleted,
                current,
                settings.gate.least_kept_items,
            ),
            *check_answers(engine),
            *check_budget(context.budget, state.models),
            *check_report(workspace.reports / REPORT_JSON, digest),
            *check_regression(draft.ranker.record, current, settings.gate.margin),
        ]
        if not failed_gates(gates):
            measured = ListSurvey(engine, context.dataset).measure()
            draft = replace(draft, lists=record_lists(measured))
            gates += check_rejected(measured)
            gates += check_regression(
                *(draft.lists, current, settings.gate.list_margin),
                *(LISTS_FILE, "list_margin"),
            )
    return draft.with_facts(fingerprint=digest).with_decisions("gates", gates)


def publish_draft(context: JobContext, draft: Draft, require_held: Callable[[], None]) -> Version:
    """Align the vector space with the published generation, then publish.

    ``require_held`` raises an error if the lock of the training was lost; nothing is published
    then.
    """
    generations = context.workspace.generations
    space, facts = None, dict(draft.facts)
    if MODELS not in draft.linked:
        current = open_in_force(generations, verify=False)
        space, facts["space"] = continue_space(current, draft.models)
    with context.clock.stage("publish"):
        save = partial(draft.save, space=space)
        with context.workspace.exclusive("generations") as require_alone:

            def require_both() -> None:
                require_held()
                require_alone()

            return publish(generations, save, facts, require_both)
