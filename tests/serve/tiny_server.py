"""The real server over the tiny engine, as a process of its own.

Usage: tiny_server.py LOAD_SECONDS [--pictures FOLDER] [--reports FOLDER] [--workers N]
[--switch FILE]. Prints the address once it listens and once it is ready.

The search `slow` takes half a second. If the switch is a file, its content says why the engine
cannot be opened.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from serendip.errors import NotTrainedError
from serendip.serve.generation_watch import PublishedGenerations
from serendip.serve.server import run, run_worker
from serendip.serve.supervisor import supervise
from serendip.serve.worker_seat import WorkerSeat


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("load_s", type=float)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--reports", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--switch", type=Path)
    return parser.parse_args()


def main() -> None:
    options = parse()

    def open_engine():
        threading.Event().wait(options.load_s)
        if options.switch and options.switch.exists():
            raise NotTrainedError(options.switch.read_text(), "Remove the switch.")
        from tiny_engine import NO_PICTURES, NO_REPORT, TinyEngine, poster_pictures

        from serendip.engine.quality_report import QualityReport

        class SlowEngine(TinyEngine):
            """Takes half a second for the query ``slow``."""

            def recommend(self, request):
                if request.text == "slow":
                    threading.Event().wait(0.5)
                return super().recommend(request)

        shown = poster_pictures(options.pictures) if options.pictures else NO_PICTURES
        report = QualityReport(options.reports) if options.reports else NO_REPORT
        return SlowEngine(pictures=shown, report=report)

    def listening(address: str) -> None:
        print(f"listening {address}", flush=True)  # noqa: T201 - how the test learns the port

    def ready(address: str) -> None:
        print(f"ready {address}", flush=True)  # noqa: T201 - how the test learns that it is up

    published = PublishedGenerations(open_engine)
    if seat := WorkerSeat.take():
        run_worker(published, seat)
    elif options.workers > 1:
        command = [sys.executable, *sys.argv]
        supervise(command, options.workers, port=0, on_ready=ready, on_listening=listening)
    else:
        run(published, port=0, on_ready=ready, on_listening=listening)


main()
