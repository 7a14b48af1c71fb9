"""``serendip train``: parts -> gates -> publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from serendip.engine.state_parts import open_state
from serendip.engine.workspace import REPORT_JSON
from serendip.errors import GateError, SerendipError, StorageError
from serendip.evaluate.decision import DECISIONS, Decision, write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.lists.gate import LISTS_FILE, check_rejected, record_lists
from serendip.jobs.lists.survey import ListSurvey
from serendip.jobs.relevance.model import DistilledModel
from serendip.jobs.surface_quality.record import RECORD_FILE, read_record, save_record
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
from serendip.jobs.train.parts.plan import (
    PartInputs,
    PartPlan,
    build_parts,
    link_folder,
    plan_parts,
)
from serendip.jobs.train.parts.ranker import RANKER_PART, require_learnable
from serendip.jobs.train.parts.tables import TABLES
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
    distilled: Mapping[str, DistilledModel] = MappingProxyType({}),
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
        distilled: new relevance models by the surface of their labels, beside those in force.

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
    ):
        with _recorded_failure(folder, reasons):
            shown = _show_in(context, status)
            with scratch_folder(folder) as scratch:
                inputs = PartInputs(shown, None, distilled, scratch, warm)
                generation = _train(inputs, require_held, force, rebuild, only)
        TrainingRecord(PUBLISHED, generation.name, reasons=reasons).write(folder)
    remove_remains(str(context.workspace.folder))
    return generation


def _train(
    inputs: PartInputs, require_held: Callable[[], None], force: bool, rebuild: bool, only: str
) -> Version:
    context, workspace = inputs.context, inputs.context.workspace
    require_training()
    inputs = replace(inputs, current=open_in_force(workspace.generations))
    with workspace.open_store() as store:
        store.pack()
    plans = plan_training(inputs, rebuild, only)
    if inputs.current is not None and not any(plan.reason for plan in plans.values()):
        return inputs.current
    if plans[RANKER_PART.name].reason:
        require_learnable(context)
    facts = build_parts(PARTS, plans, inputs)
    facts |= {"fingerprint": compute_fingerprint(workspace, context.options.seed)}
    gates = run_gates(context, inputs.folder, facts)
    if not force:
        require_passed(gates)
    facts[DECISIONS]["gates"] = write_decisions(gates)
    with context.clock.stage("publish"):
        generation = publish_draft(context, inputs.folder, facts, require_held)
    for gate in failed_gates(gates):
        told = (generation.name, gate.name, gate.reason)
        _log.warning("%s is published by force: it fails the gate %r (%s)", *told)
    return generation


def _show_in(context: JobContext, progress: Progress) -> JobContext:
    options, clock = context.options, context.clock
    return replace(
        context,
        options=replace(options, progress=BothProgress(options.progress, progress)),
        clock=replace(clock, progress=BothProgress(clock.progress, progress)),
    )


def plan_training(inputs: PartInputs, rebuild: bool, only: str) -> dict[str, PartPlan]:
    """What a training would build now: name of each part -> whether, and why.

    Raises:
        ConfigError: there is no part ``only``, or not only that has changed.
        SerendipError: something that a part reads cannot be read.
    """
    with inputs.context.clock.stage("snapshot"):
        inputs.context.require_items()
    return plan_parts(PARTS, inputs, rebuild and not only, only)


@contextmanager
def _recorded_failure(folder: Path, reasons: Sequence[str]) -> Iterator[None]:
    # An interruption is no error.
    try:
        yield
    except Exception as error:
        result: Result = REFUSED if isinstance(error, GateError) else FAILED
        is_ours = isinstance(error, SerendipError)
        message = str(error) if is_ours else f"{type(error).__name__}: {error}"
        with suppress(StorageError):  # the first error says more than that of a full disk
            TrainingRecord(result, message=message, reasons=reasons).write(folder)
        raise


def run_gates(context: JobContext, folder: Path, facts: Mapping[str, Any]) -> list[Decision]:
    """Run all gates on a draft; what people see of it is added to its folder.

    They ask an engine of the draft as it would answer now, which has read what came since.
    """
    workspace, settings = context.workspace, context.settings
    current = open_in_force(workspace.generations, verify=False)
    with workspace.open_store() as store:
        deleted = store.items_deleted_by_api()
    state = open_state(folder).with_synonyms(workspace.accepted_synonyms())
    version, encoder = Version(folder, facts), context.encoder
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
            *check_report(workspace.reports / REPORT_JSON, facts["fingerprint"]),
            *check_regression(read_record(folder / RECORD_FILE), current, settings.gate.margin),
        ]
        if not failed_gates(gates):
            measured = ListSurvey(engine, context.dataset).measure()
            lists, margin = record_lists(measured), settings.gate.list_margin
            save_record(lists, folder / LISTS_FILE)
            gates += check_rejected(measured)
            gates += check_regression(
                lists, current, margin, file=LISTS_FILE, setting="list_margin"
            )
    return gates


def publish_draft(
    context: JobContext, folder: Path, facts: Mapping[str, Any], require_held: Callable[[], None]
) -> Version:
    """Make a draft the generation in force.

    ``require_held`` raises an error if the lock of the training was lost; nothing is published
    then.
    """
    workspace = context.workspace
    with workspace.exclusive("generations") as require_alone:

        def require_both() -> None:
            require_held()
            require_alone()

        return publish(workspace.generations, partial(link_folder, folder), facts, require_both)
