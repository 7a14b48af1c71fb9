"""Traces reach a collector, hold nothing personal, and cost nothing where nobody asks for them."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from wire_client import WireClient

from serendip.data.api_key import issue_key
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.config.serve import ServeConfig
from serendip.runtime.spans import span
from serendip.serve.server_options import ServerOptions
from serendip.serve.telemetry.logs import set_up

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is missing")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from serendip.serve.telemetry.traces import Traces

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """A server that takes OTLP over HTTP and keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.bodies.append(body if self.path == "/v1/traces" else b"")
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                assert names["service.name"] == "serendip"
                found += [one for scope in resource.scope_spans for one in scope.spans]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def plain_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of OpenTelemetry, and no compression, so that a search of the bytes finds all."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    opened = Collector()
    yield opened
    opened.close()


def add_key(folder: Path) -> str:
    """A new key that may read."""
    issued = issue_key("shop", ["read"])
    with closing(ApiKeys.open(folder / "serendip.db")) as keys:
        keys.add(issued)
    return issued.text


def attributes(one: Span) -> dict[str, object]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in one.attributes}


def test_a_request_is_a_trace_of_its_stages_with_the_id_that_the_log_has(
    trained_stand: Path, tmp_path: Path, collector: Collector
) -> None:
    folder = shutil.copytree(trained_stand, tmp_path / "stand")
    log = tmp_path / "log"
    key = add_key(folder)
    settings = {
        "TRACES": collector.address,
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "true",
        "TRUSTED_PROXIES": '["127.0.0.0/8"]',
    }
    environment = os.environ | {f"SERENDIP_SERVE__{name}": text for name, text in settings.items()}
    command = [sys.executable, "-m", "serendip", "serve", "-w", os.fspath(folder), "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("Ready:"))
        connection = HTTPConnection("127.0.0.1", urlsplit(line.split()[1]).port, timeout=30)
        for path in ("/v1/search?q=secrettale&user_id=secretperson", "/v1/items/secretitem"):
            headers = {
                "traceparent": CALLER,
                "cookie": "a=secret",
                "x-forwarded-for": "203.0.113.9",
            }
            connection.request("GET", path, headers={**headers, "authorization": f"Bearer {key}"})
            connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    spans = collector.spans()  # the end of the service has sent them
    search = next(one for one in spans if one.name == "GET /v1/search")
    parts = [one for one in spans if one.parent_span_id == search.span_id]
    names = [one.name for one in parts]
    assert {"query", "filters", "features", "scoring", "slate", "answer"} <= set(names)
    assert any(name.startswith("source ") for name in names)
    assert search.trace_id.hex() == CALLER.split("-")[1]
    assert search.parent_span_id.hex() == CALLER.split("-")[2]
    assert search.kind == Span.SPAN_KIND_SERVER
    for one in parts:
        assert search.start_time_unix_nano <= one.start_time_unix_nano + 1_000_000
        assert one.start_time_unix_nano <= one.end_time_unix_nano
        assert one.end_time_unix_nano <= search.end_time_unix_nano + 1_000_000
    logged = {
        row["request_id"]: row
        for row in map(json.loads, log.read_text().splitlines())
        if row["logger"] == "serendip.access"
    }
    wholes = [one for one in spans if one.kind == Span.SPAN_KIND_SERVER]
    assert len(wholes) == 2
    for whole in wholes:
        told = attributes(whole)
        row = logged[str(told["serendip.request_id"])]
        assert (told["http.route"], told["http.response.status_code"]) == (
            row["route"],
            row["status"],
        )
    assert [one for one in collector.bodies if b"secret" in one] == []


def trace(traces: Traces, parts: int = 0) -> None:
    """A request with parts, that says which trace it belongs to."""
    state = {"request_id": "r"}
    scope = {"method": "GET", "headers": [(b"traceparent", CALLER.encode())], "state": state}
    with traces.trace(scope, "r"):
        for number in range(parts):
            with span(f"source {number}"):
                pass
        traces.observe("/v1/home", 200, "gen-1")
    traces.close()


@pytest.mark.parametrize("is_proxy", [True, False])
def test_a_trace_is_continued_behind_trusted_proxies_alone(
    collector: Collector, is_proxy: bool
) -> None:
    proxies = ("10.0.0.0/8",) if is_proxy else ()
    traces = ServerOptions(
        config=ServeConfig(traces=collector.address, trusted_proxies=proxies)
    ).open_traces()
    assert traces is not None
    trace(traces)
    (whole,) = collector.spans()
    assert (whole.trace_id.hex() == CALLER.split("-")[1]) == is_proxy
    assert (whole.parent_span_id.hex() == CALLER.split("-")[2]) == is_proxy


def test_a_stranger_does_not_choose_what_the_sampler_keeps(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    trace(Traces(collector.address), parts=3)
    assert collector.bodies == []
    trace(Traces(collector.address, is_behind_proxy=True), parts=3)
    assert sorted(one.name for one in collector.spans()) == [
        *("GET /v1/home", "source 0", "source 1", "source 2"),
    ]


def test_failures_are_marked_and_say_nothing(collector: Collector) -> None:
    traces = Traces(collector.address)
    client = WireClient(traces=traces)

    def fail(*_: object) -> object:
        with span("part"):
            raise RuntimeError("secret")

    client.engine.recommend = client.engine.fall_back = fail  # type: ignore[method-assign,assignment]
    logging.getLogger("serendip").setLevel(logging.CRITICAL)
    try:
        assert client.get("/v1/search?q=x").status_code == 500
    finally:
        logging.getLogger("serendip").setLevel(logging.NOTSET)
    assert client.get("/v1/none?secret", headers={"traceparent": "secret"}).status_code == 404
    traces.close()
    spans = collector.spans()
    failed = {one.name for one in spans if one.status.code == Status.STATUS_CODE_ERROR}
    assert failed == {"GET /v1/search"}
    assert "GET unmatched" in {one.name for one in spans}
    assert not [one for one in spans if one.events]
    assert b"secret" not in b"".join(collector.bodies)


@pytest.mark.parametrize("status", [0, 400])
def test_a_collector_that_takes_nothing_is_told_once_and_fails_nothing(status: int) -> None:
    collector = Collector(status)
    if not status:  # nobody listens
        collector.close()
    log = io.StringIO()
    handler = set_up("text", log)
    traces = Traces(collector.address)
    client = WireClient(traces=traces)
    for _ in range(3):
        assert client.get("/v1/search?q=film").status_code == 200
    traces.close()
    logging.getLogger().removeHandler(handler)
    (line,) = log.getvalue().splitlines()
    assert "Failed to export span" in line
    if status:
        collector.close()


def test_without_a_collector_nothing_is_kept_and_no_sdk_imported() -> None:
    code = (
        "import sys; from serendip.serve.server_options import LOCAL; "
        "import serendip.serve.app, serendip.serve.server, serendip.engine.engine; "
        "assert LOCAL.open_traces() is None; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', "
        "'opentelemetry.exporter', 'opentelemetry.proto', 'serendip.serve.telemetry.traces'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "address", ["localhost:4318", "http://", "http://me:secret@host", "ftp://x"]
)
def test_an_address_without_a_scheme_or_with_a_password_is_refused(address: str) -> None:
    assert ServeConfig(traces="https://collector.internal:4318/otlp").traces
    with pytest.raises(ValueError, match="without a name and a password"):
        ServeConfig(traces=address)
