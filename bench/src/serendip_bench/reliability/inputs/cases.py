"""Some thousand wrong requests that are made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from serendip_bench.reliability.inputs.requests import (
    FORM_HEADERS,
    MISSING,
    VALID,
    Parameter,
    WireRequest,
)
from serendip_bench.reliability.inputs.values import (
    BODIES,
    FORMS,
    HEADERS,
    NUMBERS,
    ODD_VALUES,
    TEXTS,
    VALUES,
)

_FIELDS = {
    "/v1/events": (
        *("user_id", "item_id", "action", "query", "surface", "event_id", "country"),
        *("request_id", "session_id", "device"),
    ),
    "/v1/items": ("item_id", "title", "description"),
    "/v1/search": ("q", "user_id", "cursor", "filter", "facet", "sort"),
}
_NUMBER_FIELDS = {
    "/v1/events": ("value", "timestamp", "position", "propensity"),
    "/v1/items": ("available_from",),
    "/v1/search": ("k",),
}
_ROUTES_OF_BODIES = (
    *("/v1/events", "/v1/items", "/v1/search", "/v1/recommend", "/v1/explain", "/v1/suggest"),
    "/v1/items/sku-00000001/similar",
)


def list_cases() -> Iterator[WireRequest]:
    """All of them: texts, numbers and broken bodies wherever they could be sent."""
    yield from _list_parameters()
    for request in (*VALID, *MISSING):
        if request.name and request.method != "DELETE":
            yield from (replace(request, name=text) for text in TEXTS)
    yield from _list_bodies()
    yield from _list_attributes()
    for text in TEXTS:
        yield WireRequest("GET", "/v1/search", query={"q": "a", text: "b"})
        yield WireRequest("GET", "/{}", text)
    yield from _list_headers()
    for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE", "PUT", "FOO"):
        for route in ("/v1/search", "/v1/items/{}", "/search", "/items/{}", "/like"):
            yield WireRequest(method, route, "deleted")


def _list_parameters() -> Iterator[WireRequest]:
    """Every parameter of every route, and every field of a form, with every value."""
    seen: set[tuple[str, str, str]] = set()
    for request in VALID:
        sent = request.query if request.form is None else request.form
        for name in sent:
            place = (request.method, request.route, name)
            if place in seen:
                continue
            seen.add(place)
            for value in (*TEXTS, *VALUES.get(name, ())):
                yield replace_parameter(request, name, value)


def replace_parameter(request: WireRequest, name: str, value: Parameter) -> WireRequest:
    """The request with another value of a parameter, or of a field of its form."""
    if request.form is not None:
        return replace(request, form={**request.form, name: value})
    return replace(request, query={**request.query, name: value})


def _list_bodies() -> Iterator[WireRequest]:
    for route in _ROUTES_OF_BODIES:
        yield from (WireRequest("POST", route, value=body) for body in BODIES)
    for route in ("/like", "/sign-in"):
        yield from (WireRequest("POST", route, value=f, headers=FORM_HEADERS) for f in FORMS)
    for route, names in _FIELDS.items():
        for name in names:
            yield from (WireRequest("POST", route, value=_with(route, name, t)) for t in TEXTS)
    for route, names in _NUMBER_FIELDS.items():
        for name in names:
            start = json.dumps(_with(route, name, 0)).encode().rpartition(b"0")[0]
            yield from (WireRequest("POST", route, value=start + n + b"}") for n in NUMBERS)
    for request in VALID:
        if isinstance(request.value, dict):
            for name, value in _product(request.value, ODD_VALUES):
                yield replace(request, value={**request.value, name: value})


def _list_attributes() -> Iterator[WireRequest]:
    """Attributes of items and users with odd names and values."""
    for route, method, name in (("/v1/items", "POST", ""), ("/v1/users/{}", "PUT", "written")):
        for attributes in (
            *({text: "a"} for text in TEXTS),
            *({"a": text} for text in TEXTS),
            *({"a": [text, text]} for text in TEXTS),
            *({"a": value} for value in ODD_VALUES),
        ):
            body: dict[str, object] = {"attributes": attributes}
            if not name:
                body["item_id"] = "posted"
            yield WireRequest(method, route, name, value=body)


def _list_headers() -> Iterator[WireRequest]:
    """Headers of a read, a write, a page and a form."""
    routes = {("GET", "/v1/search"), ("POST", "/v1/events"), ("GET", "/search"), ("POST", "/like")}
    requests = {(one.method, one.route): one for one in reversed(VALID)}
    for place in sorted(routes):
        for name, values in HEADERS.items():
            for value in values:
                request = requests[place]
                yield replace(request, headers={**request.headers, name: value})


def _product(names: Iterable[str], values: Iterable[object]) -> Iterator[tuple[str, object]]:
    chosen = list(values)
    return ((name, value) for name in names for value in chosen)


def _with(route: str, name: str, value: object) -> dict[str, object]:
    """A valid body with another value, which comes last."""
    valid = next(r.value for r in VALID if r.route == route and isinstance(r.value, dict))
    return {**{key: old for key, old in valid.items() if key != name}, name: value}
