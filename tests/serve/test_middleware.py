import asyncio

import pytest
from starlette.types import Message
from tiny_engine import TinyEngine
from wire_client import WireClient, error_of


@pytest.fixture(scope="module")
def client() -> WireClient:
    return WireClient()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000"]
)
def test_loopback_names_are_answered(client, host):
    assert client.get("/health/live", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "localhost@evil",
        "",
        "0.0.0.0",
        "127.0.0.1:8000:9",
        "localhost ",
        "[::1",
        "::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/users", "/health/live", "/metrics"])
def test_every_other_host_is_refused_on_every_route(client, host, path):
    response = client.get(path, headers={"host": host})
    assert response.status_code == 403
    assert error_of(response)["type"] == "host"


CHANGES = [("POST", "/v1/events"), ("POST", "/v1/items"), ("DELETE", "/v1/items/f1")]
CHANGES += [("POST", "/like"), ("PUT", "/v1/items/f1"), ("PATCH", "/")]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_no_other_site_may_change_anything(client, method, path, headers):
    response = client.ask(method, path, headers=headers, content=b"{}")
    assert response.status_code == 403
    assert error_of(response)["type"] == "origin"
    assert client.engine.item("f1") is not None


@pytest.mark.parametrize("path", ["/", "/v1/users", "/nowhere", "/static/page.css"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert len(headers["x-request-id"]) == 16


def test_a_body_is_counted_while_it_streams_whatever_its_length_claims():
    events = asyncio.run(_stream([b"x" * 1024**2] * 9, claimed=b"10"))
    assert events[0]["status"] == 413


async def _stream(chunks: list[bytes], claimed: bytes | None = None) -> list[Message]:
    waiting = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        body = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    length = [(b"content-length", claimed)] if claimed else [(b"transfer-encoding", b"chunked")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/events",
        "raw_path": b"/v1/events",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *length],
    }
    await WireClient().app(scope, receive, send)
    return sent


def test_a_failing_engine_gives_an_error_response(caplog):
    class Broken(TinyEngine):
        def users(self, limit: int = 50) -> list[tuple[str, int]]:
            raise RuntimeError("the secret")

    response = WireClient(Broken()).get("/v1/users")
    assert response.status_code == 500
    assert error_of(response)["type"] == "internal"
    assert "secret" not in response.text
    assert len(error_of(response)["request_id"]) == 16
    assert "the request failed" in caplog.text  # the id is in the line: see test_logs.py
