"""Requests to a service, as records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from golden import http_cases as cases
from golden.product import Client, Reply
from golden.session import Session

_JSON = {"content-type": "application/json"}
_KEPT_SIGNS = "/?&=%:+,~-_.!"
_BODY = re.compile(r" [{\[]")


def ask(
    client: Client, request: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> dict[str, Any]:
    """Send ``METHOD PATH [BODY]``.

    Returns:
        status, some headers and the body.
    """
    reply = _sent(client, request, headers, body)
    return {**_told(reply), "body": reply.json()}


def record_all(
    session: Session, client: Client, table: Mapping[str, str], category: str, prefix: str = ""
) -> None:
    """Record the answers to all requests of a table."""
    for case, request in table.items():
        session.put(category, f"{prefix}{case}", ask(client, request))


def record_explained(
    session: Session, client: Client, table: Mapping[str, tuple[str, str]]
) -> None:
    """Record explanations of first items."""
    for case, (request, question) in table.items():
        items = ask(client, request)["body"][cases.ITEMS]
        if items:
            asked = question.replace("{item}", items[0][cases.ITEM_ID])
            session.put("http", f"explain {case}", ask(client, asked))


def record_paged(session: Session, client: Client, table: Mapping[str, str]) -> None:
    """Record the parts of answers, each asked for by what the one before calls next."""
    for case, path in table.items():
        cursor = ""
        for part in range(cases.PAGES):
            answer = ask(client, f"GET {path}{cursor}")
            session.put("http", f"part {part + 1} of {case}", answer)
            following = answer["body"][cases.NEXT]
            if not following:
                break
            cursor = f"&cursor={following}"


def record_pages(session: Session, client: Client) -> None:
    """Record pages, and fragments of them."""
    for case, request in cases.PAGE_READS.items():
        session.put("page", case, _page(_sent(client, request), session))
    for case, request in cases.PAGE_FRAGMENTS.items():
        reply = _sent(client, request, cases.FRAGMENT_HEADER)
        session.put("page", f"fragment {case}", _page(reply, session))


def record_visitor(session: Session, client: Client) -> None:
    """Record the page of somebody new, what a like answers, and the page after it."""
    session.put("page", "feed of a visitor", _page(_sent(client, cases.VISITOR_FEED), session))
    path, form = cases.VISITOR_LIKE
    for case, headers in (("like", {}), ("fragment like", cases.FRAGMENT_HEADER)):
        typed = {"content-type": "application/x-www-form-urlencoded", **headers}
        reply = client.ask("POST", path, form.encode(), typed)
        session.put("page", case, _page(reply, session))
    session.put("page", "after like", _page(_sent(client, cases.VISITOR_AFTER), session))


def _sent(
    client: Client, request: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Reply:
    """``METHOD PATH [BODY]``: a path may have spaces, a body begins with a bracket."""
    method, _, rest = request.partition(" ")
    begin = _BODY.search(rest) if method == "POST" else None
    path, data = (
        (rest[: begin.start()], rest[begin.end() - 1 :].encode()) if begin else (rest, body)
    )
    known = _JSON if data else {}
    return client.ask(method, quote(path, _KEPT_SIGNS), data or None, {**known, **(headers or {})})


def _told(reply: Reply) -> dict[str, Any]:
    headers = {name: reply.headers[name] for name in cases.REPLY_HEADERS if name in reply.headers}
    return {"status": reply.status, "headers": headers}


def _page(reply: Reply, session: Session) -> dict[str, Any]:
    return {**_told(reply), "lines": session.masks.lines(reply.body.decode("utf-8", "replace"))}
