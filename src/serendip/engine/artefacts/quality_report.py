"""The report of a workspace on the quality of its engine, as the page shows it.

``serendip evaluate`` writes it, and a status file while it runs; here both are only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serendip.runtime.job_status import JobStatus

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
STATUS_FILE = "status.json"
"""Files in the folder of reports."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Reads the report and how far the evaluation is.

    Args:
        folder: of the reports.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """True once an evaluation has ended."""
        return (self.folder / REPORT_HTML).is_file()

    def status(self) -> JobStatus | None:
        """State of the newest evaluation; None if there was none, or it was interrupted."""
        return JobStatus.read(self.folder / STATUS_FILE)

    def read(self) -> bytes | None:
        """The report as a page that needs no other file; None if there is none."""
        try:
            return (self.folder / REPORT_HTML).read_bytes()
        except OSError:
            return None
