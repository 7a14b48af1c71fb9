"""The real server over the tiny engine, as a process of its own.

Usage: tiny_server.py LOAD_SECONDS [PICTURES_FOLDER]. Prints the address once it is ready.
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
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None

    def open_engine():
        threading.Event().wait(load_s)
        from tiny_engine import TinyEngine, poster_pictures

        class SlowEngine(TinyEngine):
            """Takes half a second for the query ``slow``."""

            def recommend(self, request):
                if request.text == "slow":
                    threading.Event().wait(0.5)
                return super().recommend(request)

        return SlowEngine(pictures=poster_pictures(folder)) if folder else SlowEngine()

    def listening(address: str) -> None:
        print(f"listening {address}", flush=True)  # noqa: T201 - how the test learns the port

    def ready(address: str) -> None:
        print(f"ready {address}", flush=True)  # noqa: T201 - how the test learns that it is up

    run(PublishedGenerations(open_engine), port=0, on_ready=ready, on_listening=listening)


main()
