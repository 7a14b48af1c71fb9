"""The report of a workspace on the quality of its engine, as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
"""Files in the folder of reports."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Reads the report.

    Args:
        folder: of the reports.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """True once an evaluation has ended."""
        return (self.folder / REPORT_HTML).is_file()

    def read(self) -> bytes | None:
        """The report as a page that needs no other file; None if there is none."""
        try:
            return (self.folder / REPORT_HTML).read_bytes()
        except OSError:
            return None
