"""HTML pages of the reports (evaluation, task transfer), each self-contained.

A page has no script, font, image or network access. It shows its JSON document and computes
nothing. It supports light and dark mode, phones and printing. Names come from users' files, so all
text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from serendip.evaluate import number_format
from serendip.evaluate.comparison import BETTER, WORSE
from serendip.evaluate.task_transfer import MAIN, UNIFIED


def render_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of a report (see ``document``); it can always be encoded as UTF-8."""
    longest = max((stage["wall_s"] or 0.0 for stage in report["stages"]), default=0.0)
    return _render("report.html", report=report, longest_s=longest or 1.0)


def render_alignment_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of ``reports/alignment.json`` (see ``jobs.evaluate.task_transfer``)."""
    setting = setting_of(report["recommendation"]["groups"])
    names = {"metric": MAIN, "unified": UNIFIED, "setting": setting}
    return _render("alignment.html", report=report, found=report["models"], **names)


def setting_of(groups: list[list[str]]) -> str:
    """Format the recommended grouping as lines of ``serendip.toml``."""
    lists = ", ".join("[" + ", ".join(f'"{task}"' for task in group) + "]" for group in groups)
    return f"[unified]\ngroups = [{lists}]"


def _render(template: str, **values: Any) -> str:
    """Render a template of this folder; all values except ``Markup`` are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from serendip.evaluate.report import charts

    environment = Environment(
        loader=PackageLoader("serendip.evaluate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = ("number", "percent", "interval", "seconds", "signed")
    environment.filters |= {name: getattr(number_format, name) for name in formats}
    environment.filters |= {"tight": tight, "day": day, "badge": badge}
    environment.globals["charts"] = charts
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
