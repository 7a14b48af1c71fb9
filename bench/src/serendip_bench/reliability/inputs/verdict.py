"""What an answer must be, whatever was asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serendip_bench.reliability.inputs.values import SCRIPT
from serendip_bench.service import Reply

LONGEST_S = 2.0

_PROMISED = {429: {"overload", "rate_limit"}, 503: {"busy", "timeout"}, 507: {"storage_full"}}
"""Answers that say to come again later: what is asked for is not what is wrong."""

_FIELDS = {"type": str, "message": str, "hint": str, "request_id": str}


@dataclass(slots=True)
class Tally:
    """Answers, and what is wrong with them.

    Args:
        statuses: how often each came.
        failed: requests whose answer is of the server's making (5xx), or that have none.
        slow: that took too long, twice.
        malformed: whose answer has another form than documented.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Number of requests with a fault."""
        return len(self.failed) + len(self.slow) + len(self.malformed)

    def ask(self, name: str, ask: Callable[[], Reply], is_page: bool = False) -> None:
        """Ask, and look at the answer; what is slow is asked again, as others may use the machine.

        Args:
            name: of the request, for people.
            ask: sends it.
            is_page: whether an error may be a page.
        """
        reply = ask()
        if reply.seconds > LONGEST_S and (reply := ask()).seconds > LONGEST_S:
            self.slow.append(f"{name}: {reply.seconds:.1f} s")
        self.add(name, reply, is_page)

    def add(self, name: str, reply: Reply, is_page: bool = False) -> None:
        """Look at an answer; the arguments are those of ``ask``."""
        self.statuses[reply.status] += 1
        if reply.status == 0 or (reply.status >= 500 and not is_promised(reply)):
            self.failed.append(f"{name}: {reply.status} {reply.body[:100]!r}")
        elif problem := _find_problem(reply, is_page):
            self.malformed.append(f"{name}: {reply.status} {problem}")


_OF_CONNECTIONS = (400,)
"""Of what is no HTTP request: no route has seen it."""


def is_promised(reply: Reply) -> bool:
    """Whether an answer only says to come again later."""
    try:
        return reply.json()["error"]["type"] in _PROMISED.get(reply.status, ())
    except (ValueError, KeyError, TypeError):
        return False


def _find_problem(reply: Reply, is_page: bool) -> str:
    """What is wrong with the form of an answer; empty = nothing."""
    media_type = reply.headers.get("content-type", "")
    if reply.status in _OF_CONNECTIONS and not media_type.startswith(("application/", "text/html")):
        return ""
    if "x-request-id" not in reply.headers:
        return "no x-request-id"
    if not reply.body and reply.headers.get("content-length", "0") != "0":
        return ""  # of a HEAD request
    if media_type.startswith("text/html") and (is_page or reply.status < 400):
        return _find_problem_of_page(reply)
    if reply.status < 400 and not media_type.startswith("application/json"):
        return ""
    try:
        document = json.loads(reply.body, parse_constant=_refuse)
    except ValueError as error:
        return f"no JSON: {error}"
    return "" if reply.status < 400 or _is_error(document) else f"no error: {reply.body[:100]!r}"


def _find_problem_of_page(reply: Reply) -> str:
    if SCRIPT.encode() in reply.body:
        return "a text became markup"
    title = f"<title>{reply.status} ".encode()
    return "no page of an error" if reply.status >= 400 and title not in reply.body else ""


def _is_error(document: Any) -> bool:
    fields = document.get("error") if isinstance(document, dict) else None
    if not isinstance(fields, dict):
        return False
    return {name: type(value) for name, value in fields.items()} == _FIELDS


def _refuse(name: str) -> None:
    raise ValueError(f"{name} in an answer")
