"""A real server that speaks chat completions, and fails as it is told to."""

import asyncio
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serendip.llm.client import LlmAnswer, LlmConfig, LlmRequest
from serendip.llm.openai import EndpointLlm

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What is sent back.

    Args:
        body: bytes after the headers.
        status: of HTTP.
        headers: beside the length.
        sent: bytes of the body after which the connection is reset; None = all are sent.
        hangs: nothing is sent until the client has gone.
        drips: "headers" or "body": they are sent byte by byte, 20 a second, without an end.
    """

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    sent: int | None = None
    hangs: bool = False
    drips: str = ""


def completion(
    text: str | None, finish: str = "stop", usage: Any = (100, 10), **more: Any
) -> Reply:
    """A completion with one choice."""
    told = None if usage is None else {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    whole = {"id": "c", "object": "chat.completion", "created": 0, "model": "m"}
    return Reply(json.dumps({**whole, "choices": [choice], "usage": told}).encode())


def error(status: int, code: str, *headers: tuple[str, str]) -> Reply:
    document = {"error": {"message": f"told: {code}", "type": code, "code": code}}
    return Reply(json.dumps(document).encode(), status, headers)


def data_of(body: Body) -> Body:
    """What a question is about."""
    found = re.search(r"<data>(.*)</data>", body["messages"][1]["content"])
    return dict(json.loads(found[1]))


def answer_often_right(
    tell: Callable[[Body, str, bool], dict[str, Any]], right: float
) -> Callable[[Body, int], Reply]:
    """An LLM that is right this often, always the same for the same question."""

    def reply(body: Body, number: int) -> Reply:
        data = data_of(body)
        is_right = zlib.crc32(json.dumps(data, sort_keys=True).encode()) % 1_000 < 1_000 * right
        told = tell(data, body["messages"][0]["content"], is_right)
        return completion(json.dumps({"id": data["id"], **told}))

    return reply


def judged(body: Body, label: str = "good", **more: Any) -> str:
    return json.dumps({"id": data_of(body)["id"], "label": label, "confidence": 0.5, **more})


@dataclass
class FaultServer:
    """One address, and everything that was asked there."""

    address: str
    bodies: list[Body] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    callers: list[int] = field(default_factory=list)
    dripped: int = 0


def client(address: str, **settings: Any) -> EndpointLlm:
    values = {"provider": "endpoint", "base_url": address, "model": "m", **settings}
    return EndpointLlm(LlmConfig(**values))


def answer(llm: EndpointLlm, request: LlmRequest) -> LlmAnswer:
    """Ask once."""

    async def ask() -> LlmAnswer:
        try:
            return await llm.answer(request)
        finally:
            await llm.close()

    return asyncio.run(ask())


def configure(folder: Path, address: str) -> None:
    """Make a workspace ask there, at a price."""
    with (folder / "serendip.toml").open("a") as stream:
        stream.write(
            f'\n[llm]\nprovider = "endpoint"\nbase_url = "{address}"\nmodel = "m"\n'
            "input_price = 1.0\noutput_price = 2.0\nconcurrency = 1\n"
        )


@contextmanager
def serving(script: Callable[[Body, int], Reply]) -> Iterator[FaultServer]:
    """Answer by a function of the request and of how many came before it."""
    gone, lock = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # The head and the body are two packets.

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.bodies)
                server.bodies.append(body)
                server.callers.append(self.client_address[1])
                server.keys.append(self.headers["Authorization"])
                server.headers.append(dict(self.headers))
            reply = script(body, number)
            if reply.hangs:
                gone.wait(30)
                return
            if reply.drips:
                self.drip(reply.drips)
                return
            self.send_response(reply.status)
            for header in reply.headers:
                self.send_header(*header)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.sent])
            if reply.sent is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def drip(self, part: str) -> None:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-slow: ")
            if part == "body":
                self.wfile.write(b"no\r\nContent-Length: 100000\r\n\r\n")
            with suppress(OSError):  # The client has gone.
                while not gone.wait(0.05):
                    self.wfile.write(b"1")
                    server.dripped += 1

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = FaultServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        gone.set()
        http.shutdown()
        thread.join()
        http.server_close()
