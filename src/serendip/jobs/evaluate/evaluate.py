"""``serendip evaluate``: measures the engine on the newest events and writes the report.

One temporal split is made, at ``CUT``, by default with a sample of users where there are many
targets. The report names what was left out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from serendip import __version__
from serendip.data import Dataset
from serendip.data.splits import temporal
from serendip.engine.workspace import REPORT_HTML, REPORT_JSON
from serendip.errors import DataError
from serendip.evaluate.new_items import measure_exploration
from serendip.evaluate.report.document import build_report, render_page
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.evaluate.split import measure_split
from serendip.jobs.lists.survey import describe_lists
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.ranker.labels import require_actions
from serendip.runtime.atomic_files import write_json, write_text
from serendip.runtime.extras import require_training

CUT = 0.9
"""Share of the events, by time, that everything is fitted on; the others are targets."""

MIN_EVENTS = 100
"""With fewer interactions a split leaves too little for training or testing."""

MAX_TARGETS = 10_000
"""Largest number of targets of the default evaluation. Intervals of the two thousand users or so
that they belong to are narrow; every further target costs as much as a request."""


def evaluate_workspace(context: JobContext, full: bool = False) -> dict[str, Any]:
    """Evaluate the engine and its baselines, and write and return ``reports/report.{json,html}``.

    ``full`` measures all users instead of a sample.

    Raises:
        ConfigError: a target action of the ranker does not occur in its training data.
        DataError: there are too few interactions.
        ExtraMissing: a package of the extra ``train`` is not installed.
        StorageError: versions of what commands built are not here, and the storage is out of reach.
    """
    workspace, seed, clock = context.workspace, context.options.seed, context.clock
    require_training()
    dataset = read_evaluation_dataset(context)
    require_actions(dataset, workspace.settings.ranker.actions)
    # Before hours of work: it reads versions that a storage may have, which may be away later.
    fingerprint = compute_fingerprint(workspace, seed)
    whole = temporal(dataset, CUT)
    figures = measure_split(context, dataset, whole, None if full else MAX_TARGETS)
    with clock.stage("lists"):
        lists = describe_lists(workspace, dataset, seed)
    with clock.stage("report"):
        counts = {
            "items": dataset.num_items,
            "users": dataset.num_users,
            "interactions": len(dataset.events),
            "likes": int(dataset.events.liked.sum()),
        }
        figures |= {
            "data": {"counts": counts, "checks": check_workspace(workspace)},
            "split": {"fraction": CUT, **figures["split"]},
            "lists": lists,
            "exploration": measure_exploration(dataset.requests, seed),
            "stages": clock.as_dicts(),
        }
        created = datetime.now(UTC).isoformat(timespec="seconds")
        report = build_report(figures, created=created, code_version=__version__, seed=seed)
        report["fingerprint"] = fingerprint
        write_json(workspace.reports / REPORT_JSON, report)
        write_text(workspace.reports / REPORT_HTML, render_page(report))
    return report


def read_evaluation_dataset(context: JobContext) -> Dataset:
    """The dataset of a report, with enough interactions.

    Raises:
        DataError: there are fewer than ``MIN_EVENTS``.
    """
    dataset = context.dataset
    if len(dataset.events) < MIN_EVENTS:
        raise DataError(
            f"{len(dataset.events)} interactions are too few for a report.",
            f"Collect at least {MIN_EVENTS}, or run `serendip train`, which needs no report.",
        )
    return dataset
