"""The quiet line about an evaluation that is running, and the link to its report."""

from __future__ import annotations

from dataclasses import dataclass

from serendip.engine.artefacts.quality_report import QualityReport
from serendip.runtime.job_status import DONE, FAILED, RUNNING

REPORT_PATH, STATUS_PATH = "/report", "/report/status"

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy of the report, which has its styles inside and nothing else."""


@dataclass(frozen=True, slots=True)
class QualityLine:
    """One quiet sentence above a page.

    Args:
        text: the sentence.
        is_running: whether it will change, and the page must ask again.
        link: to the report; empty = none.
    """

    text: str
    is_running: bool = False
    link: str = ""


def build_quality_line(report: QualityReport, was_running: bool = False) -> QualityLine | None:
    """Describe the newest evaluation; None if there is nothing to say.

    Args:
        report: of the workspace.
        was_running: whether the page showed it running; then its end is said, too.
    """
    status = report.status()
    if status is None:
        return None
    if status.state == RUNNING:
        return QualityLine("Measuring the quality.", True)
    if status.state == FAILED:
        return QualityLine("The quality could not be measured; `serendip evaluate` says why.")
    if status.state == DONE and was_running and report.exists:
        return QualityLine("The quality is measured:", link=REPORT_PATH)
    return None
