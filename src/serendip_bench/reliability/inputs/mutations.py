"""Valid requests, changed at random by Hypothesis."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from serendip_bench.reliability.inputs.cases import TEXTS, VALID, WireRequest

Draw = Callable[[st.SearchStrategy[Any]], Any]

_texts = st.sampled_from(TEXTS) | st.text(max_size=30)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_HEADERS = ("accept-language", "content-type", "origin", "accept-encoding", "expect", "cookie")


@st.composite
def mutated_requests(draw: Draw) -> WireRequest:
    """A valid request with one to three changes."""
    request: WireRequest = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        request = draw(st.sampled_from(_CHANGES))(draw, request)
    return request


def _change_query(draw: Draw, request: WireRequest) -> WireRequest:
    name = draw(st.sampled_from([*request.query, "k", "q", "cursor"]) | _texts)
    return replace(request, query={**request.query, name: draw(_texts)})


def _drop_query(draw: Draw, request: WireRequest) -> WireRequest:
    dropped = draw(st.sampled_from([*request.query, ""]))
    return replace(request, query={k: v for k, v in request.query.items() if k != dropped})


def _change_name(draw: Draw, request: WireRequest) -> WireRequest:
    return replace(request, name=draw(_texts))


def _change_value(draw: Draw, request: WireRequest) -> WireRequest:
    """Another value somewhere in the body."""
    if not isinstance(request.value, dict | list):
        return request
    value = json.loads(json.dumps(request.value))
    node: Any = value
    while node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or draw(st.booleans()):
            node[key] = draw(_values)
            break
        node = node[key]
    return replace(request, value=value)


def _add_value(draw: Draw, request: WireRequest) -> WireRequest:
    if not isinstance(request.value, dict):
        return request
    return replace(request, value={**request.value, draw(_texts): draw(_values)})


def _drop_value(draw: Draw, request: WireRequest) -> WireRequest:
    if not isinstance(request.value, dict) or not request.value:
        return request
    dropped = draw(st.sampled_from(sorted(request.value)))
    return replace(request, value={k: v for k, v in request.value.items() if k != dropped})


def _replace_body(draw: Draw, request: WireRequest) -> WireRequest:
    return replace(request, value=draw(_values))


def _change_bytes(draw: Draw, request: WireRequest) -> WireRequest:
    body = request.body or b"{}"
    place = draw(st.integers(0, len(body)))
    return replace(request, value=body[:place] + draw(st.binary(max_size=6)) + body[place + 1 :])


def _change_header(draw: Draw, request: WireRequest) -> WireRequest:
    value = draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
    return replace(request, headers={**request.headers, draw(st.sampled_from(_HEADERS)): value})


def _change_method(draw: Draw, request: WireRequest) -> WireRequest:
    methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
    return replace(request, method=draw(st.sampled_from(methods)))


_CHANGES = (
    *(_change_query, _change_query, _drop_query, _change_name, _change_value, _change_value),
    *(_add_value, _drop_value, _replace_body, _change_bytes, _change_header, _change_method),
)
