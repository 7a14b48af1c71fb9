"""The alignment report as one HTML page; what ``page`` says of pages holds here, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serendip.evaluate import plots
from serendip.evaluate.page import render
from serendip.evaluate.task_transfer import MAIN, UNIFIED

ALIGNMENT_TEMPLATE = "alignment.html"


def render_alignment_page(report: Mapping[str, Any]) -> str:
    """The HTML of ``reports/alignment.json`` (see ``workflow.alignment_report``)."""
    from markupsafe import Markup

    tasks = list(report["asked"])
    drawn = {
        task: plots.bars(
            MAIN,
            [(line["model"], line[MAIN]) for line in report["models"] if line["task"] == task][
                ::-1
            ],
            UNIFIED,
        )
        for task in tasks
    }
    return render(
        ALIGNMENT_TEMPLATE,
        report=report,
        tasks=tasks,
        plots={task: Markup(drawing) for task, drawing in drawn.items()},
        setting=setting_of(report["recommendation"]["groups"]),
    )


def setting_of(groups: list[list[str]]) -> str:
    """The recommended split as it stands in ``serendip.toml``."""
    lists = ", ".join("[" + ", ".join(f'"{task}"' for task in group) + "]" for group in groups)
    return f"[unified]\ngroups = [{lists}]"
