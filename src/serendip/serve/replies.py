"""Answers that are written without a framework: the one error form and plain JSON.

Light on purpose: the service answers with these before the framework is even imported.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from serendip.errors import SerendipError
from serendip.serve.asgi import Scope, Send

JSON_TYPE = "application/json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the client sees it.

    Args:
        status: HTTP status.
        kind: stable word for programs, ``unknown_item``.
        message: what happened, with the value.
        hint: the next step; empty where the message says it all.
    """

    status: int
    kind: str
    message: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    @classmethod
    def of(cls, error: SerendipError) -> Failure:
        """The failure that an error of the tree stands for."""
        return cls(error.status, error.kind, error.message, error.hint, _retry_after(error))

    @classmethod
    def public(cls, error: SerendipError, request_id: str) -> Failure:
        """The same for strangers: what names files of the operator goes to the log instead."""
        if not error.public_message:
            return cls.of(error)
        _log.warning("request %s: %s", request_id, error)
        hint = "Try again in a moment." if error.retry_after_s else "The service's log has more."
        message = f"{error.public_message} Nothing was stored."
        return cls(error.status, error.kind, message, hint, _retry_after(error))

    def text_headers(self) -> dict[str, str]:
        """The headers in the form that the framework takes."""
        return {name.decode(): value.decode() for name, value in self.headers}

    def body(self, request_id: str) -> bytes:
        """The JSON that every error answer has."""
        return dump(
            {
                "error": {
                    "type": self.kind,
                    "message": self.message,
                    "hint": self.hint,
                    "request_id": request_id,
                }
            }
        )


def _retry_after(error: SerendipError) -> tuple[tuple[bytes, bytes], ...]:
    if not error.retry_after_s:
        return ()
    return ((b"retry-after", str(error.retry_after_s).encode()),)


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON. Text that cannot be encoded is written with question marks.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def request_id_of(scope: Scope) -> str:
    """The id that the door gave to this request; empty outside of it."""
    return str(scope.get("state", {}).get("request_id", ""))


async def send_failure(scope: Scope, send: Send, failure: Failure) -> None:
    """Answer a request with an error, without any framework."""
    body = failure.body(request_id_of(scope))
    await send_body(send, failure.status, body, failure.headers)


async def send_body(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with a JSON body that is already written."""
    length = str(len(body)).encode()
    own = [(b"content-type", JSON_TYPE.encode()), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})
