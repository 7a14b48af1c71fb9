"""Valid requests to every route of the service, which together name all of its parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from urllib.parse import quote

from serendip.data.events.event import EVENT_NUMBERS, EVENT_TEXTS
from serendip.engine.request import Place

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}
FORM_HEADERS: Mapping[str, str] = {"content-type": "application/x-www-form-urlencoded"}

Parameter: TypeAlias = str | tuple[str, ...]
"""The value of a parameter; a tuple is sent as one that is repeated."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it is sent.

    Args:
        route: path with ``{}`` for an id.
        value: of the body, encoded as JSON unless it is bytes; None = no body.
        headers: besides those that every request has.
        form: the fields of a form, which is the body then.
    """

    method: str
    route: str
    name: str = ""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, Parameter] | None = None

    @property
    def is_page(self) -> bool:
        """Whether people see the answer: then errors may be pages, too."""
        return not self.route.startswith(("/v1", "/health", "/metrics", "/openapi"))

    @property
    def target(self) -> str:
        """Path and parameters, quoted."""
        path = self.route.replace("{}", quote_all(self.name))
        return f"{path}?{_encode(self.query)}" if self.query else path

    @property
    def body(self) -> bytes | None:
        """The encoded body."""
        if self.form is not None:
            return _encode(self.form).encode()
        if self.value is None or isinstance(self.value, bytes):
            return self.value
        return json.dumps(self.value).encode("utf-8", "surrogatepass")

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers with the type of the body."""
        return {**(JSON_HEADERS if self.form is None else FORM_HEADERS), **self.headers}

    def with_parameter(self, name: str, value: Parameter) -> WireRequest:
        """Another value of a parameter, or of a field of its form."""
        if self.form is not None:
            return replace(self, form={**self.form, name: value})
        return replace(self, query={**self.query, name: value})

    def __str__(self) -> str:
        return f"{self.method} {self.target[:120]} {(self.body or b'')[:120]!r}"


def quote_all(text: str) -> str:
    """Quote every character that is not a letter or digit; halves of characters, too."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _encode(values: Mapping[str, Parameter]) -> str:
    return "&".join(f"{quote_all(name)}={quote_all(value)}" for name, value in _pairs(values))


def _pairs(values: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        yield from ((name, one) for one in ((value,) if isinstance(value, str) else value))


_ITEM, _USER = "sku-00000001", "u1"
_CURSOR = Place().write(["sku-00000002"])
_FRAGMENT = {"hx-request": "true"}

_EVENT: Mapping[str, Any] = {"user_id": _USER, "item_id": _ITEM, "action": "click"}
_WHOLE_EVENT: Mapping[str, Any] = {
    **dict.fromkeys(EVENT_TEXTS, "a"),
    **{name: 1 if column.dtype == "int32" else 0.5 for name, column in EVENT_NUMBERS.items()},
    **{**_EVENT, "surface": "home", "timestamp": 1.7e9},
}
_PAGE_OF_ITEMS: Mapping[str, Parameter] = {
    **{"user_id": _USER, "limit": "5", "cursor": _CURSOR, "country": "KR", "device": "phone"},
    **{"session_id": "s1", "reasons": "true", "parts": "true", "language": "ko"},
    "items": (_ITEM, "unknown"),
    "fields": ("price", "tags,description"),
    **{"filter": ("price>=0.5", "tags=a|b"), "facet": ("tags", "price"), "sort": "-price"},
}
_EXPLAINED: Mapping[str, Parameter] = {
    **{"item_id": _ITEM, "surface": "search", "limit": "5", "user_id": _USER, "q": "a"},
    **{"literal": "1", "source_item_id": (_ITEM, "posted"), "country": "KR", "device": "phone"},
    **{"session_id": "s1", "filter": ("tags!=z",), "sort": "price", "language": "en"},
    "items": (_ITEM,),
}
_SUGGESTED: Mapping[str, Parameter] = {
    **{"q": "a", "user_id": _USER, "after": "b", "limit": "3", "language": "ko"},
    "filter": ("tags=a",),
}
_SHOWN: Mapping[str, Parameter] = {
    **{"user": _USER, "surface": "home", "source": _ITEM, "request_id": "r1", "position": "2"},
    "propensity": "0.5",
}


def _item(item_id: str, **more: Any) -> dict[str, Any]:
    attributes = {"department": "a", "price": 1.5, "tags": ["a", "b"]}
    return {"item_id": item_id, "title": "A title", "attributes": attributes, **more}


def _to_json(query: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameters of a GET as the body of a POST."""
    kinds: dict[str, Callable[[str], Any]] = {"limit": int, "literal": bool}
    kinds |= dict.fromkeys(("reasons", "parts"), json.loads)
    return {
        name: kinds.get(name, str)(value) if isinstance(value, str) else list(value)
        for name, value in query.items()
    }


_PIN: Mapping[str, Any] = {
    **{"action": "pin", "surfaces": ["home"], "queries": ["a"], "items": [_ITEM], "value": 2},
    **{"segment": "plan=gold", "begins": 1.6e9, "ends": "2099-01-01T00:00:00Z"},
}
_BOOST: Mapping[str, Any] = {"action": "boost", "category": "tags=a", "where": "tags=b"}

_WRITES: tuple[WireRequest, ...] = (
    WireRequest("POST", "/v1/items", value=_item(_ITEM, description="Words", available_from=1.6e9)),
    WireRequest("POST", "/v1/items", value={"items": [_item("posted")]}),
    WireRequest("POST", "/v1/items", value=[_item("posted")]),
    WireRequest("POST", "/v1/events", value=_WHOLE_EVENT),
    WireRequest("POST", "/v1/events", value=[_EVENT, {**_EVENT, "query": "a"}]),
    WireRequest("POST", "/v1/events", value={"events": [{**_EVENT, "event_id": "one"}]}),
    WireRequest("PATCH", "/v1/items/{}", _ITEM, value={"title": "Another", "description": "More"}),
    WireRequest("PATCH", "/v1/items/{}", _ITEM, value={"attributes": {"price": 2, "old": None}}),
    WireRequest("PATCH", "/v1/items/{}", "posted", value={"available_from": None}),
    WireRequest("POST", "/v1/users", value={"user_id": _USER, "attributes": {"plan": "gold"}}),
    WireRequest("POST", "/v1/users", value={"users": [{"user_id": "written"}]}),
    WireRequest("PATCH", "/v1/users/{}", _USER, value={"attributes": {"age": 3, "old": None}}),
    WireRequest("POST", "/v1/users/{}:merge", "written", value={"visitor_id": _USER}),
    WireRequest("PUT", "/v1/users/{}", "written", value={"attributes": {"plan": "gold"}}),
    WireRequest("PUT", "/v1/rules/{}", "first", value=_PIN),
    WireRequest("PUT", "/v1/rules/{}", "up", value=_BOOST),
    WireRequest("POST", "/like", form={"item_id": _ITEM, "q": "a", **_SHOWN}),
    WireRequest("POST", "/like", form={"item_id": _ITEM, "user": _USER}, headers=_FRAGMENT),
    WireRequest("POST", "/sign-in", form={"key": "k"}),
    WireRequest("POST", "/sign-out", form={}),
)
"""What others need comes first."""

_PREVIEW: Mapping[str, Any] = {
    **_to_json({"surface": "search", "q": "a", "literal": "1", "item_id": (_ITEM,)}),
    **_to_json(_PAGE_OF_ITEMS),
    "rules": [{"rule_id": "first", **_PIN}],
}

_READS: tuple[WireRequest, ...] = (
    WireRequest("GET", "/v1/search", query={"q": "a", "literal": "0", **_PAGE_OF_ITEMS}),
    WireRequest("GET", "/v1/search", query={"q": "a", "user_id": _USER}),
    WireRequest("GET", "/v1/search", query={"filter": "tags=a"}),
    WireRequest("GET", "/v1/recommend", query={"surface": "home", **_PAGE_OF_ITEMS}),
    WireRequest("GET", "/v1/recommend", query={"surface": "home", "user_id": _USER}),
    WireRequest("GET", "/v1/recommend", query={"surface": "cart", "item_id": (_ITEM, "posted")}),
    WireRequest("GET", "/v1/recommend", query={"surface": "search", "q": "a", "literal": "1"}),
    WireRequest("GET", "/v1/suggest", query=_SUGGESTED),
    WireRequest("GET", "/v1/suggest", query={"after": "a"}),
    WireRequest("GET", "/v1/explain", query=_EXPLAINED),
    WireRequest("GET", "/v1/explain", query={"item_id": _ITEM, "user_id": _USER}),
    WireRequest("GET", "/v1/items/{}/similar", _ITEM, _PAGE_OF_ITEMS),
    WireRequest("GET", "/v1/items/{}", _ITEM),
    WireRequest("GET", "/v1/items", query={"limit": "5", "cursor": "posted"}),
    WireRequest("POST", "/v1/items:get", value={"item_ids": [_ITEM, "unknown"]}),
    WireRequest("POST", "/v1/users:get", value={"user_ids": [_USER, "unknown"]}),
    WireRequest("GET", "/v1/users/{}/history", _USER, {"limit": "5"}),
    WireRequest("GET", "/v1/users/{}", _USER),
    WireRequest("GET", "/v1/users", query={"limit": "5"}),
    WireRequest("GET", "/v1/rules"),
    WireRequest("GET", "/v1/figures", query={"days": "28", "limit": "5"}),
    WireRequest("POST", "/v1/rules:preview", value=_PREVIEW),
    WireRequest("POST", "/v1/search", value=_to_json({"q": "a", "literal": "1", **_PAGE_OF_ITEMS})),
    WireRequest("POST", "/v1/search", value={"q": "a", "user_id": _USER, "limit": 5}),
    WireRequest("POST", "/v1/recommend", value=_to_json({"surface": "home", **_PAGE_OF_ITEMS})),
    WireRequest(
        "POST",
        "/v1/recommend",
        value={"surface": "search", "q": "a", "literal": True, "item_id": [_ITEM]},
    ),
    WireRequest("POST", "/v1/suggest", value=_to_json(_SUGGESTED)),
    WireRequest("POST", "/v1/explain", value=_to_json(_EXPLAINED)),
    WireRequest("POST", "/v1/items/{}/similar", _ITEM, value=_to_json(_PAGE_OF_ITEMS)),
)

_FOUND: Mapping[str, Parameter] = {
    **{"q": "a", "user": _USER, "filter": ("tags=a", "price<=1000000"), "sort": "price"},
    "literal": "1",
}

_PAGES: tuple[WireRequest, ...] = (
    WireRequest("GET", "/", query={"user": _USER, "surface": "home"}),
    WireRequest("GET", "/", query={"user": _USER}, headers=_FRAGMENT),
    WireRequest("GET", "/", query={"q": "a", "filter": ("tags=a",), "user": _USER}),
    WireRequest("GET", "/search", query=_FOUND),
    WireRequest("GET", "/search", query={"filter": "tags=a"}),
    WireRequest(
        "GET",
        "/more",
        query={**_FOUND, "surface": "search", "cursor": _CURSOR, "first": "5"},
        headers=_FRAGMENT,
    ),
    WireRequest("GET", "/more", query={"user": _USER, "surface": "home", "cursor": _CURSOR}),
    WireRequest("GET", "/why", query={**_FOUND, **_SHOWN, "surface": "search", "item_id": _ITEM}),
    WireRequest("GET", "/why", query={"item_id": _ITEM, "user": _USER}, headers=_FRAGMENT),
    WireRequest("GET", "/items/{}", _ITEM, {**_SHOWN, "q": "a"}),
    WireRequest("GET", "/sign-in"),
    WireRequest("GET", "/docs"),
    WireRequest("GET", "/office", query={"days": "28"}),
)

_OPERATIONS: tuple[WireRequest, ...] = tuple(
    WireRequest("GET", path)
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json")
)

VALID: tuple[WireRequest, ...] = (*_WRITES, *_READS, *_PAGES, *_OPERATIONS)
"""Each is answered with 2xx or 3xx, if asked in this order."""

MISSING: tuple[WireRequest, ...] = (
    WireRequest("GET", "/media/items/{}", _ITEM),
    WireRequest("GET", "/static/{}", "none.css"),
    WireRequest("GET", "/report"),
    WireRequest("GET", "/{}", "none"),
    WireRequest("DELETE", "/v1/items/{}", "deleted"),
    WireRequest("DELETE", "/v1/users/{}", "written"),
    WireRequest("DELETE", "/v1/rules/{}", "first"),
)
"""Valid ones whose answer depends on what the workspace has."""
