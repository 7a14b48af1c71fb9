"""The real server over the tiny engine, as a process of its own.

Usage: tiny_server.py LOAD_SECONDS [--pictures FOLDER] [--reports FOLDER] [--workers N]
[--switch FILE] [--keys DATABASE] [--host HOST] [--allowed-host NAME]
[--trusted-proxy ADDRESS] [--receive-timeout SECONDS] [--deadline SECONDS] [--silence SECONDS]
[--waiting REQUESTS].
Prints the address once it listens and once it is ready.

The search `slow` takes half a second, `hang` never ends, nor does storing an event of user `hang`.
The search `freeze` never lets another thread run, the event loop neither.
If the switch is a file, its content says why the engine cannot be opened. With an exit code every
worker ends with it at once.
"""

import argparse
import ctypes
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.config.serve import ServeConfig
from serendip.errors import NotTrainedError, SerendipError
from serendip.serve.engine_holder import PublishedGenerations
from serendip.serve.limits import MAX_SILENCE_S
from serendip.serve.server import serve
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.shared_state import SharedState
from serendip.serve.supervisor import Supervisor


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("load_s", type=float)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--reports", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--switch", type=Path)
    parser.add_argument("--exit-code", type=int, default=0)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--allowed-host", action="append", default=[])
    parser.add_argument("--trusted-proxy", action="append", default=[])
    parser.add_argument("--receive-timeout", default=LOCAL.config.receive_timeout)
    parser.add_argument("--deadline", default=LOCAL.config.deadline)
    parser.add_argument("--waiting", type=int, default=LOCAL.config.waiting_requests)
    parser.add_argument("--silence", type=float, default=MAX_SILENCE_S)
    return parser.parse_args()


def published_by(options: argparse.Namespace) -> PublishedGenerations:
    def open_engine():
        threading.Event().wait(options.load_s)
        if options.switch and options.switch.exists():
            raise NotTrainedError(options.switch.read_text(), "Remove the switch.")
        from tiny_engine import NO_PICTURES, NO_REPORT, TinyEngine, poster_pictures

        from serendip.engine.workspace import REPORT_HTML

        class SlowEngine(TinyEngine):
            """Takes half a second for the query ``slow``, and counts how often it came."""

            slow = 0

            def stats(self):
                return {**super().stats(), "slow": self.slow}

            def recommend(self, request):
                if request.text == "slow":
                    self.slow += 1
                    threading.Event().wait(0.5)
                if request.text == "freeze":
                    ctypes.PyDLL(None).sleep(600)  # unlike CDLL, it keeps the interpreter's lock
                if request.text == "hang":
                    threading.Event().wait(600)
                return super().recommend(request)

            def add_events(self, events):
                if events[0].user_id == "hang":
                    threading.Event().wait(600)
                return super().add_events(events)

        shown = poster_pictures(options.pictures) if options.pictures else NO_PICTURES
        report = options.reports / REPORT_HTML if options.reports else NO_REPORT
        return SlowEngine(pictures=shown, report=report)

    return PublishedGenerations(open_engine)


def server_options_by(options: argparse.Namespace) -> ServerOptions:
    config = ServeConfig(
        allowed_hosts=tuple(options.allowed_host),
        trusted_proxies=tuple(options.trusted_proxy),
        waiting_requests=options.waiting * options.workers,
        receive_timeout=options.receive_timeout,
        deadline=options.deadline,
    )
    open_keys = (lambda: ApiKeys.open(options.keys)) if options.keys else None
    return ServerOptions(options.host, 0, config, open_keys, workers=options.workers)


def tell(word: str, address: str) -> None:
    print(f"{word} {address}", flush=True)  # noqa: T201 - how the test learns the port


def main() -> None:
    options = parse()
    published, served = published_by(options), server_options_by(options)
    with closing(served.listen()) as listener:
        address = served.format_address(listener)
        tell("listening", address)
        ready = partial(tell, "ready", address)
        if options.workers == 1:
            return serve(published, served, listener, on_ready=ready)

        def work(shared: SharedState) -> None:
            if options.exit_code:
                raise SystemExit(options.exit_code)
            serve(published, served, listener, shared)

        def load() -> None:
            from serendip.serve import app  # noqa: F401 - as the command does

        shared = SharedState(options.workers)
        try:
            Supervisor(listener, work, shared, load, ready, options.silence).run()
        except SerendipError as error:
            sys.exit(f"{type(error).__name__}: {error}")


main()
