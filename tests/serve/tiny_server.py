"""The real server over the tiny engine, as a process of its own.

Usage: tiny_server.py LOAD_SECONDS [PICTURES_FOLDER [REPORTS_FOLDER]]. Prints the address once it is
ready.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from serendip.serve.generation_watch import PublishedGenerations
from serendip.serve.server import run


def main() -> None:
    load_s = float(sys.argv[1])
    pictures, reports = (Path(folder) for folder in (*sys.argv[2:], "", "")[:2])

    def open_engine():
        threading.Event().wait(load_s)
        from tiny_engine import NO_PICTURES, NO_REPORT, TinyEngine, poster_pictures

        from serendip.engine.quality_report import QualityReport

        class SlowEngine(TinyEngine):
            """Takes half a second for the query ``slow``."""

            def recommend(self, request):
                if request.text == "slow":
                    threading.Event().wait(0.5)
                return super().recommend(request)

        shown = poster_pictures(pictures) if pictures.name else NO_PICTURES
        report = QualityReport(reports) if reports.name else NO_REPORT
        return SlowEngine(pictures=shown, report=report)

    def listening(address: str) -> None:
        print(f"listening {address}", flush=True)  # noqa: T201 - how the test learns the port

    def ready(address: str) -> None:
        print(f"ready {address}", flush=True)  # noqa: T201 - how the test learns that it is up

    run(PublishedGenerations(open_engine), port=0, on_ready=ready, on_listening=listening)


main()
