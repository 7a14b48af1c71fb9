"""Requests: valid ones, and some hundred wrong ones made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it is sent.

    Args:
        method: of HTTP.
        route: path with ``{}`` for an id.
        name: the id.
        query: parameters.
        value: of the body, encoded as JSON unless it is bytes; None = no body.
        headers: besides those that every request has.
    """

    method: str
    route: str
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Path and parameters, quoted."""
        path = self.route.replace("{}", quote_all(self.name))
        pairs = "&".join(f"{quote_all(k)}={quote_all(v)}" for k, v in self.query.items())
        return f"{path}?{pairs}" if pairs else path

    @property
    def body(self) -> bytes | None:
        """The encoded body."""
        if self.value is None or isinstance(self.value, bytes):
            return self.value
        return json.dumps(self.value).encode("utf-8", "surrogatepass")

    def __str__(self) -> str:
        return f"{self.method} {self.target[:120]} {(self.body or b'')[:120]!r}"


def quote_all(text: str) -> str:
    """Quote every character that is not a letter or digit; halves of characters, too."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


_ITEM, _USER = "sku-00000001", "u1"
_EVENT = {"user_id": _USER, "item_id": _ITEM, "action": "click"}
_READ = {"user_id": _USER, "k": "5"}

VALID: tuple[WireRequest, ...] = (
    WireRequest("GET", "/v1/search", query={"q": "a", **_READ}),
    WireRequest("GET", "/v1/recommend", query={"surface": "home", **_READ}),
    WireRequest("GET", "/v1/recommend", query={"surface": "cart", "item_id": _ITEM}),
    WireRequest("GET", "/v1/suggest", query={"q": "a", "user_id": _USER}),
    WireRequest("GET", "/v1/explain", query={"item_id": _ITEM, "user_id": _USER}),
    WireRequest("GET", "/v1/items/{}/similar", _ITEM, {"k": "3"}),
    WireRequest("GET", "/v1/items/{}", _ITEM),
    WireRequest("GET", "/v1/users/{}/history", _USER, {"limit": "5"}),
    WireRequest("GET", "/v1/users/{}", _USER),
    WireRequest("GET", "/v1/users", query={"limit": "5"}),
    WireRequest("POST", "/v1/search", value={"q": "a", "user_id": _USER, "k": 5}),
    WireRequest("POST", "/v1/recommend", value={"surface": "home", "user_id": _USER, "k": 5}),
    WireRequest("POST", "/v1/suggest", value={"q": "a", "k": 3}),
    WireRequest("POST", "/v1/explain", value={"item_id": _ITEM, "user_id": _USER}),
    WireRequest("POST", "/v1/items/{}/similar", _ITEM, value={"k": 3}),
    WireRequest("POST", "/v1/events", value={**_EVENT, "value": 3.5, "timestamp": 1.7e9}),
    WireRequest("POST", "/v1/events", value=[_EVENT, {**_EVENT, "query": "a", "position": 2}]),
    WireRequest("POST", "/v1/events", value={"events": [{**_EVENT, "event_id": "one"}]}),
    WireRequest(
        "POST",
        "/v1/items",
        value={
            "item_id": "posted",
            "title": "A title",
            "description": "Words",
            "attributes": {"department": "a", "price": 1.5, "tags": ["a", "b"]},
        },
    ),
    WireRequest("PUT", "/v1/users/{}", "written", value={"attributes": {"plan": "gold"}}),
    WireRequest("DELETE", "/v1/items/{}", "posted"),
    WireRequest("DELETE", "/v1/users/{}", "written"),
)

TEXTS: tuple[str, ...] = (
    *("", " ", "\0", "a\0b", "\n", "\r\nSet-Cookie: a=b", "\x1b[2J", "\x7f", "\ufeff", "\ufffe"),
    *("\ud800", "a\udfffb", "\u202eabc", "İ", "ı", "가", "ㄱㅏ", "Ａ", "🏳️‍🌈", "e" + "\u0301" * 900),
    *('"', "'", "*", "a AND", "NEAR(", "col:x", "(((", "-", "^", 'a"b', "%", "_", "\\", "/", "?"),
    *("../../etc/passwd", "..%2f", "<script>alert(1)</script>", "{{7*7}}", "${jndi:x}", "%s%n"),
    *("'; drop table items; --", "1' OR '1'='1", "NaN", "nan", "Infinity", "-inf", "null", "true"),
    *("0", "-1", "1001", "1.5", "1e3", "0x10", "1_0", "٣", str(2**31), str(2**63), "9" * 5_000),
    *("x" * 513, "한" * 171, "x" * 1_025, "x" * 20_000, "a " * 600),
)

NUMBERS: tuple[bytes, ...] = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e308", b"1e-400", b"-0", b"-0.0"),
    *(b"-1", b"1.5", b"9007199254740993", b"9223372036854775807", b"9223372036854775808"),
    *(b"1" + b"0" * 5_000, b"true", b"false", b"null", b'"1"', b'"NaN"', b"[]", b"{}", b"[1]"),
)

_BODIES: tuple[bytes, ...] = (
    *(
        b"",
        b" \n",
        b"hello",
        b"{",
        b"}",
        b'{"user_id": "u"',
        b"{} {}",
        b"null",
        b"1",
        b'"x"',
        b"[1]",
    ),
    *(b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"user_id": "\xff"}', b"[" * 100_000, b'{"a":' * 5_000),
    *(b"[[[[]]]]", b"[]", b"{}", b"[null]", b"[{}]", b'{"events": {}}', b'{"events": [], "a": 1}'),
    *(b'{"\\ud800": 1}', b'{"\\u0000": 1}', b'{"a": 1, "a": 2}', b"// a comment", b"[1,]", b"'a'"),
)

_FIELDS = {
    "/v1/events": ("user_id", "item_id", "action", "query", "surface", "event_id", "country"),
    "/v1/items": ("item_id", "title", "description"),
    "/v1/search": ("q", "user_id", "cursor"),
}
_NUMBER_FIELDS = {
    "/v1/events": ("value", "timestamp", "position", "propensity"),
    "/v1/items": ("available_from",),
    "/v1/search": ("k",),
}
_ROUTES_OF_BODIES = ("/v1/events", "/v1/items", "/v1/search", "/v1/recommend", "/v1/explain")


def list_cases() -> Iterator[WireRequest]:
    """All of them: texts, numbers and broken bodies wherever they could be sent."""
    for request in VALID:
        if request.method == "GET":
            for name in request.query:
                for text in TEXTS:
                    yield replace(request, query={**request.query, name: text})
        if request.name and request.method != "DELETE":
            yield from (replace(request, name=text) for text in TEXTS)
    yield from _list_bodies()
    for text in TEXTS:
        yield WireRequest("GET", "/v1/search", query={"q": "a", text: "b"})
        yield WireRequest("GET", "/{}", text)
    for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE", "PUT", "FOO"):
        yield from (WireRequest(method, route, _ITEM) for route in ("/v1/search", "/v1/items/{}"))


def _list_bodies() -> Iterator[WireRequest]:
    for route in _ROUTES_OF_BODIES:
        yield from (WireRequest("POST", route, value=body) for body in _BODIES)
    for route, names in _FIELDS.items():
        for name in names:
            yield from (WireRequest("POST", route, value=_with(route, name, t)) for t in TEXTS)
    for route, names in _NUMBER_FIELDS.items():
        for name in names:
            start = json.dumps(_with(route, name, 0)).encode().rpartition(b"0")[0]
            yield from (WireRequest("POST", route, value=start + n + b"}") for n in NUMBERS)


def _with(route: str, name: str, value: object) -> dict[str, object]:
    """A valid body with another value, which comes last."""
    valid = next(r.value for r in VALID if r.route == route and isinstance(r.value, dict))
    return {**{key: old for key, old in valid.items() if key != name}, name: value}


BROKEN_HTTP: tuple[bytes, ...] = (
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"GET /v1/search?q=\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)
