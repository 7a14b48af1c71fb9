"""No input makes the service fail, hang, or answer in another form than it says.

Three kinds of requests go over HTTP to the real service: those that Schemathesis makes from its
``/openapi.json``, valid ones that Hypothesis changes at random and to values known as hostile, and
what is no HTTP. Before and after them valid ones are asked, none of which may be refused.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from serendip.errors import ExtraMissing
from serendip.runtime.progress import Progress, SilentProgress
from serendip.serve.limits import MAX_HEAD_BYTES
from serendip_bench.reliability.breakage import parse_anything
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.inputs.requests import MISSING, VALID, WireRequest
from serendip_bench.reliability.inputs.values import BROKEN_HTTP
from serendip_bench.reliability.inputs.verdict import Tally, is_promised
from serendip_bench.reliability.services import serve_copy
from serendip_bench.service import HttpClient, Reply

if TYPE_CHECKING:
    from hypothesis import settings as Settings

_TIMEOUT_S = 30.0

_JSON = tuple(request for request in VALID if request.value is not None)
"""Valid requests with a body of JSON, whose parser the control breaks."""


@dataclass(frozen=True, slots=True)
class Fuzz:
    """Wrong input of every kind.

    Args:
        control: mutations for the variant whose parser takes anything.
    """

    schema_cases: int = 10_000
    mutations: int = 20_000
    control: int = 500
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Ask, and look at every answer."""
        schema, mutations, not_http, broken = Tally(), Tally(), Tally(), Tally()
        refused: list[str] = []
        with serve_copy(self.workspace, warm=["/v1/search?q=a"]) as (_, service):
            refused += _ask_valid(service.netloc)
            _ask_broken_http(service.netloc, not_http)
            _ask_mutations(service.netloc, self.mutations, mutations, progress)
            if self.schema_cases:
                _ask_schema(service.netloc, self.schema_cases, schema, progress)
            refused += _ask_valid(service.netloc)
        with serve_copy(self.workspace, parse_anything, ["/v1/search?q=a"]) as (_, service):
            _ask_mutations(service.netloc, self.control, broken, SilentProgress(), _JSON)
        kinds = {"no HTTP": not_http, "mutations": mutations, "of the schema": schema}
        tallies = kinds.values()
        return Findings(
            {f"requests {name}": tally.statuses.total() for name, tally in kinds.items()}
            | {"answers with 200": sum(tally.statuses[200] for tally in tallies)},
            (
                Bar("answers of 5xx, or none", sum(len(one.failed) for one in tallies), 0),
                Bar("answers after more than 2 s", sum(len(one.slow) for one in tallies), 0),
                Bar("answers of another form", sum(len(one.malformed) for one in tallies), 0),
                Bar("valid requests that were refused", len(refused), 0),
            ),
            (Control("bodies are parsed by a parser that takes anything", broken.faults),),
            (
                *refused[:3],
                *(f for one in tallies for f in (one.failed + one.malformed + one.slow)[:3]),
            ),
        )


def _ask_valid(netloc: str) -> list[str]:
    with closing(HttpClient(netloc)) as client:
        replies = [(request, _sender(client, request)()) for request in VALID]
    return [
        f"{request}: {reply.status} {reply.body[:100]!r}"
        for request, reply in replies
        if not 200 <= reply.status < 400 and not is_promised(reply)
    ]


def _ask_broken_http(netloc: str, tally: Tally) -> None:
    for text in BROKEN_HTTP:
        if len(text) <= MAX_HEAD_BYTES:
            tally.add(repr(text[:60]), _send_raw(netloc, text))
        else:
            with suppress(ConnectionError):  # its connection ends without an answer
                _send_raw(netloc, text)


def _ask_mutations(
    netloc: str,
    count: int,
    tally: Tally,
    progress: Progress,
    requests: Sequence[WireRequest] = (*VALID, *MISSING),
) -> None:
    from hypothesis import given

    from serendip_bench.reliability.inputs.mutations import mutated_requests

    shown = iter(progress.track(range(count), "mutations", count))
    with closing(HttpClient(netloc)) as client:

        @_settings(count)
        @given(mutated_requests(requests))
        def ask(request: WireRequest) -> None:
            next(shown, None)
            tally.ask(str(request), _sender(client, request), request.is_page)

        ask()
    next(shown, None)


def _ask_schema(netloc: str, count: int, tally: Tally, progress: Progress) -> None:
    """Ask requests that Schemathesis makes for each operation of the service's own schema.

    Operations that have fewer different requests leave their share to those that follow.

    Raises:
        ExtraMissing: Schemathesis is not installed.
    """
    try:
        import schemathesis
    except ImportError:
        raise ExtraMissing(
            "schemathesis is not installed.", "Run `pip install 'serendip-bench[reliability]'`."
        ) from None
    schema = schemathesis.openapi.from_url(f"http://{netloc}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    shown = iter(progress.track(range(count), "cases of the schema", count))
    kinds = [(one, mode) for one in operations for mode in schemathesis.GenerationMode]
    asked = 0
    for number, (operation, mode) in enumerate(kinds):
        share = math.ceil(max(1, count - asked) / (len(kinds) - number))
        for case in _draw(operation.as_strategy(generation_mode=mode), share):
            next(shown, None)
            asked += 1
            if len(urlencode(case.query or {}, doseq=True)) > MAX_HEAD_BYTES // 2:
                continue  # near the limit of a head, beyond which the connection ends
            tally.ask(f"{case.method} {case.formatted_path}", _call(case, tally))
    next(shown, None)


def _settings(count: int) -> Settings:
    """So many examples, the same ones in every run, without a search for smaller ones."""
    from hypothesis import HealthCheck, Phase, settings

    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def _draw(strategy: Any, count: int) -> Iterator[Any]:
    from hypothesis import given
    from hypothesis.errors import Unsatisfiable

    drawn: list[Any] = []

    @_settings(count)
    @given(strategy)
    def keep(value: Any) -> None:
        drawn.append(value)

    with suppress(Unsatisfiable):  # nothing can be wrong about a route without parameters
        keep()
    yield from drawn


def _call(case: Any, tally: Tally) -> Callable[[], Reply]:
    from schemathesis.checks import CHECKS

    names = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
    checks = [CHECKS.get_one(name) for name in names]

    def send() -> Reply:
        answer = case.call(timeout=_TIMEOUT_S)
        try:
            case.validate_response(answer, checks=checks)
        except Exception as error:  # noqa: BLE001 - each kind of failure has a class of its own
            tally.malformed.append(f"{case.method} {case.formatted_path}: {str(error)[:300]}")
        headers = {name.lower(): values[0] for name, values in answer.headers.items()}
        return Reply(answer.status_code, headers, answer.content, answer.elapsed)

    return send


def _sender(client: HttpClient, request: WireRequest) -> Callable[[], Reply]:
    headers = request.all_headers
    return lambda: client.ask(request.method, request.target, request.body, headers)


def _send_raw(netloc: str, text: bytes) -> Reply:
    host, port = netloc.split(":")
    begin = time.perf_counter()
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.sendall(text)
        answer = HTTPResponse(connection)
        try:
            answer.begin()
            body = answer.read()
        except RemoteDisconnected:
            return Reply(0, {}, b"", time.perf_counter() - begin)
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, headers, body, time.perf_counter() - begin)
