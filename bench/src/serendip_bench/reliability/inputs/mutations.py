"""Valid requests, changed at random by Hypothesis."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from serendip_bench.reliability.inputs.requests import VALID, Parameter, WireRequest
from serendip_bench.reliability.inputs.values import (
    BODIES,
    FORMS,
    HEADERS,
    NUMBERS,
    ODD_VALUES,
    TEXTS,
    VALUES,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

_texts = st.sampled_from(TEXTS) | st.text(max_size=30)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
) | st.sampled_from(ODD_VALUES)

_VALID_VALUES: dict[str, list[Parameter]] = {}
for _request in VALID:
    for _name, _value in (*_request.query.items(), *(_request.form or {}).items()):
        _VALID_VALUES.setdefault(_name, []).append(_value)

NAMES: tuple[str, ...] = tuple(sorted(_VALID_VALUES))
"""Of all parameters and fields of forms."""


def _draw_parameter(draw: Draw, name: str) -> Parameter:
    """A value for a parameter: a valid one, a hostile one of its own, any text, or several."""
    one = _texts | st.sampled_from([*VALUES.get(name, ()), *_VALID_VALUES.get(name, ()), ""])
    value: Parameter = draw(one | st.lists(_texts, max_size=3).map(tuple))
    return value


@st.composite
def mutated_requests(draw: Draw, requests: Sequence[WireRequest]) -> WireRequest:
    """One of the valid requests with one to three changes."""
    request: WireRequest = draw(st.sampled_from(requests))
    for _ in range(draw(st.integers(1, 3))):
        request = draw(st.sampled_from(_CHANGES))(draw, request)
    return request


def _change_parameter(draw: Draw, request: WireRequest) -> WireRequest:
    names = sorted(request.query if request.form is None else request.form)
    name = draw(st.sampled_from(names or NAMES))
    return request.with_parameter(name, _draw_parameter(draw, name))


def _add_parameter(draw: Draw, request: WireRequest) -> WireRequest:
    name = draw(st.sampled_from(NAMES) | _texts)
    return request.with_parameter(name, _draw_parameter(draw, name))


def _drop_query(draw: Draw, request: WireRequest) -> WireRequest:
    dropped = draw(st.sampled_from([*request.query, ""]))
    return replace(request, query={k: v for k, v in request.query.items() if k != dropped})


def _change_name(draw: Draw, request: WireRequest) -> WireRequest:
    return replace(request, name=draw(_texts))


def _change_value(draw: Draw, request: WireRequest) -> WireRequest:
    if not isinstance(request.value, dict | list):
        return request
    value = json.loads(json.dumps(request.value))
    node: Any = value
    while node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or draw(st.booleans()):
            node[key] = draw(_values | st.sampled_from(VALUES.get(str(key), ("",))))
            break
        node = node[key]
    return replace(request, value=value)


def _add_value(draw: Draw, request: WireRequest) -> WireRequest:
    if not isinstance(request.value, dict):
        return request
    added = {draw(st.sampled_from(NAMES) | _texts): draw(_values)}
    attributes = request.value.get("attributes")
    if isinstance(attributes, dict) and draw(st.booleans()):
        added = {"attributes": {**attributes, **added}}
    return replace(request, value={**request.value, **added})


def _drop_value(draw: Draw, request: WireRequest) -> WireRequest:
    if not isinstance(request.value, dict) or not request.value:
        return request
    dropped = draw(st.sampled_from(sorted(request.value)))
    return replace(request, value={k: v for k, v in request.value.items() if k != dropped})


def _change_number(draw: Draw, request: WireRequest) -> WireRequest:
    """A number in a spelling that Python's encoder does not write."""
    if not isinstance(request.value, dict) or not request.value:
        return request
    name = draw(st.sampled_from(sorted(request.value)))
    others = {key: value for key, value in request.value.items() if key != name}
    body = replace(request, value={**others, name: 0}).body or b""
    return replace(request, value=body[: -len(b"0}")] + draw(st.sampled_from(NUMBERS)) + b"}")


def _replace_body(draw: Draw, request: WireRequest) -> WireRequest:
    body = draw(_values | st.sampled_from((*BODIES, *FORMS)))
    headers = draw(st.sampled_from((request.headers, request.all_headers)))
    return replace(request, value=body, form=None, headers=headers)


def _change_bytes(draw: Draw, request: WireRequest) -> WireRequest:
    body = request.body or b"{}"
    place = draw(st.integers(0, len(body)))
    changed = body[:place] + draw(st.binary(max_size=6)) + body[place + 1 :]
    return replace(request, value=changed, form=None, headers=request.all_headers)


def _change_header(draw: Draw, request: WireRequest) -> WireRequest:
    name = draw(st.sampled_from([*HEADERS, "origin"]))
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    value = draw(printable | st.sampled_from(HEADERS.get(name, ("null",))))
    return replace(request, headers={**request.headers, name: value})


def _change_method(draw: Draw, request: WireRequest) -> WireRequest:
    """Another method; what other requests need is not deleted."""
    methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO")
    method = draw(st.sampled_from(methods))
    name = "deleted" if method == "DELETE" and request.name else request.name
    return replace(request, method=method, name=name)


_CHANGES = (
    *(_change_parameter, _change_parameter, _change_parameter, _add_parameter, _drop_query),
    *(_change_name, _change_value, _change_value, _add_value, _drop_value, _replace_body),
    *(_change_number, _change_bytes, _change_header, _change_method),
)
