"""HTML pages of the reports (evaluation, task transfer, semantic IDs), each self-contained.

A page has no script, font, image or network access. It shows its JSON document and computes
nothing. It supports light and dark mode, phones and printing. Names come from users' files, so all
text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from serendip.evaluate import number_format
from serendip.evaluate.comparison import BETTER, WORSE
from serendip.evaluate.number_format import number, percent
from serendip.evaluate.report import plots
from serendip.evaluate.slices import ALL
from serendip.evaluate.task_transfer import MAIN, UNIFIED

REPORT_TEMPLATE = "report.html"
CHARTS = ("nDCG@10", "Recall@10", "MRR@10")
MAIN_METRIC = "nDCG@10"


def render_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of a report (see ``document``); it can always be encoded as UTF-8."""
    from markupsafe import Markup

    protocols = {key: _build_view(section) for key, section in report["protocols"].items()}
    codes = report["semantic_ids"]
    return render(
        REPORT_TEMPLATE,
        report=report,
        protocols={
            key: {**view, "plots": {name: Markup(svg) for name, svg in view["plots"].items()}}
            for key, view in protocols.items()
        },
        surfaces={name: _build_surface_view(part) for name, part in report["surfaces"].items()},
        code_use=Markup(plots.code_use(codes)) if codes.get("used") else "",
        longest_s=max((stage["wall_s"] or 0.0 for stage in report["stages"]), default=0.0) or 1.0,
    )


def render(template: str, **values: Any) -> str:
    """Render a template of this folder; all values except ``Markup`` are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("serendip.evaluate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number_format.number,
        percent=number_format.percent,
        interval=number_format.interval,
        seconds=number_format.seconds,
        signed=number_format.signed,
        tight=tight,
        day=day,
        badge=badge,
    )
    text = environment.get_template(template).render(**values)
    return text.encode("utf-8", "replace").decode("utf-8")


def day(value: Any) -> str:
    """Format Unix seconds as a date or an ISO time to the minute; a dash for None."""
    if value is None:
        return number_format.NOTHING
    if isinstance(value, str):
        return value[:16].replace("T", " ")
    return f"{datetime.fromtimestamp(float(value), UTC):%Y-%m-%d}"


def tight(sentence: str) -> str:
    """Keep a number and its unit on one line, by no-break spaces."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%").replace(
        "n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
    )


def badge(word: str) -> str:
    """CSS class of a verdict, or of the status of a check."""
    return {BETTER: "good", "PASS": "good", WORSE: "bad", "FAIL": "bad", "WARN": "warn"}.get(
        word, "plain"
    )


def _build_view(section: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a protocol for the template: columns, comparisons and plots."""
    systems: Mapping[str, Any] = section["systems"]
    subject = section["subject"]
    labels: Sequence[str] = list(systems[subject])
    drawings = {
        label: plots.bars(
            label, [(name, metrics[label]) for name, metrics in systems.items()], subject
        )
        for label in CHARTS
        if label in labels
    }
    if MAIN_METRIC in labels:
        drawings["slices"] = plots.slice_dots(MAIN_METRIC, _build_slice_rows(section))
        costs = [
            (name, cost, systems[name][MAIN_METRIC])
            for name, cost in section["seconds"].items()
            if name in systems
        ]
        if costs:
            drawings["cost"] = plots.quality_and_cost(MAIN_METRIC, costs, subject)
    if section["exposure"]["catalogue"]:
        drawings["exposure"] = plots.exposure(section["exposure"])
    comparisons: dict[str, dict[str, Any]] = {}
    for row in section["comparisons"]:
        comparisons.setdefault(row["baseline"], {})[row["metric"]] = row
    return {
        "labels": labels,
        "charts": [label for label in CHARTS if label in drawings],
        "slice_labels": list(section["slices"][ALL]["systems"][subject]),
        "comparisons": comparisons,
        "plots": drawings,
    }


def _build_surface_view(section: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a surface for the template: columns and plots; empty if it was not measured."""
    from markupsafe import Markup

    systems, subject = section["systems"], section["subject"]
    if not subject:
        return {}
    bars = plots.bars(
        MAIN_METRIC, [(name, found[MAIN_METRIC]) for name, found in systems.items()], subject
    )
    rows = [
        (
            name,
            f"{number(part['n_users'])} users, {number(part['n_requests'])} requests",
            {system: metrics[MAIN_METRIC] for system, metrics in part["systems"].items()},
        )
        for name, part in section["slices"].items()
    ]
    return {
        "labels": list(systems[subject]),
        "bars": Markup(bars),
        "slices": Markup(plots.slice_dots(MAIN_METRIC, rows)),
        "verdicts": {
            row["baseline"]: row for row in section["comparisons"] if row["metric"] == MAIN_METRIC
        },
    }


def _build_slice_rows(section: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, size in words and estimates by system of every slice."""
    return [
        (
            name,
            f"{number(part['n_users'])} users, {number(part['n_targets'])} requests",
            {system: metrics[MAIN_METRIC] for system, metrics in part["systems"].items()},
        )
        for name, part in section["slices"].items()
    ]


ALIGNMENT_TEMPLATE = "alignment.html"


def render_alignment_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of ``reports/alignment.json`` (see ``jobs.evaluate.task_transfer``)."""
    from markupsafe import Markup

    tasks = list(report["asked"])
    drawings = {
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
        plots={task: Markup(drawing) for task, drawing in drawings.items()},
        setting=setting_of(report["recommendation"]["groups"]),
    )


def setting_of(groups: list[list[str]]) -> str:
    """Format the recommended grouping as lines of ``serendip.toml``."""
    lists = ", ".join("[" + ", ".join(f'"{task}"' for task in group) + "]" for group in groups)
    return f"[unified]\ngroups = [{lists}]"


CODES_TEMPLATE = "codes.html"


def render_codes_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of ``reports/semantic-ids.json`` (see ``jobs.semantic_ids.inspect``)."""
    from markupsafe import Markup

    sizes = [plots.code_sizes(level, row) for level, row in enumerate(report["sizes"])]
    return render(
        CODES_TEMPLATE,
        report=report,
        sentences=sentences(report),
        sizes=[Markup(drawing) for drawing in sizes],
        code_use=Markup(plots.code_use(report)),
        collisions=Markup(plots.collisions(report["shared_by"])),
        kept=Markup(plots.kept(report["kept"])) if report["kept"] else "",
        largest=max((group["items"] for group in report["groups"]), default=1),
    )


def sentences(report: Mapping[str, Any]) -> list[str]:
    """Describe the quality of the codes in sentences."""
    lines = [
        f"{percent(report['collision_rate'])} of the items share their full code with another."
    ]
    if report["neighbour_agreement"] is not None:
        share = percent(report["neighbour_agreement"])
        lines.append(f"{share} share their first code with the nearest item by content.")
    if report["pair_agreement"] is not None:
        together, chance = (percent(report["pair_agreement"][k]) for k in ("together", "by_chance"))
        lines.append(f"{together} of the items chosen together share it ({chance} by chance).")
    if report["kept"]:
        share = percent(report["kept"]["kept_all_levels"])
        lines.append(f"{share} of the items keep all codes that they had in {report['parent']}.")
    return lines
