"""No input causes a server error, and every answer has a documented format."""

from __future__ import annotations

import json

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_client import WireClient, error_of

CLIENT = WireClient()
ALLOWED = {200, 303, 400, 403, 404, 405, 413, 422}

names = st.sampled_from(
    ["q", "k", "user_id", "cursor", "surface", "item_id", "limit", "user", "first", "source"]
) | st.text(max_size=8)
values = st.text(max_size=40) | st.integers().map(str) | st.sampled_from(["NaN", "home", "f1"])
paths = st.sampled_from(
    [
        "/v1/search",
        "/v1/recommend",
        "/v1/suggest",
        "/v1/explain",
        "/v1/users",
        "/v1/items/f1",
        "/v1/items/f1/similar",
        "/v1/users/u/history",
        "/",
        "/search",
        "/why",
        "/more",
        "/items/f1",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
events = st.fixed_dictionaries(
    {"user_id": st.text(max_size=6), "item_id": st.text(max_size=6)},
    optional={
        "timestamp": st.floats() | st.integers(),
        "value": st.floats() | st.text(max_size=4),
        "position": st.integers(),
        "surface": st.sampled_from(["home", "", "x"]),
        "event_id": st.text(max_size=4),
    },
)
posts = st.sampled_from(
    [
        "/v1/search",
        "/v1/recommend",
        "/v1/suggest",
        "/v1/explain",
        "/v1/items/f1/similar",
        "/v1/events",
        "/v1/items",
        "/like",
    ]
)
often = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def check(response: httpx.Response) -> None:
    assert response.status_code in ALLOWED
    if response.status_code == 303:  # a text or filter of the home page is that of a search
        assert response.headers["location"].startswith("/search?")
    elif response.headers["content-type"] == "application/json":
        if response.status_code == 200:
            json.loads(response.content, parse_constant=_no_constant)
        else:
            error_of(response)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


@often
@given(paths, st.lists(st.tuples(names, values), max_size=4))
def test_no_parameters_make_the_service_fail(path, parameters):
    check(
        CLIENT.get(path, params=[(a.encode("utf-8", "replace").decode(), b) for a, b in parameters])
    )


@often
@given(posts, json_values | events | st.lists(events, max_size=3))
def test_no_json_makes_the_service_fail(path, body):
    check(CLIENT.post(path, content=json.dumps(body).encode("utf-8", "surrogatepass")))


@often
@given(posts, st.binary(max_size=64))
def test_no_bytes_make_the_service_fail(path, body):
    check(CLIENT.post(path, content=body))


@often
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=30), st.sampled_from(["GET", "POST"])
)
def test_no_path_makes_the_service_fail(path, method):
    quoted = "/" + "".join(f"%{byte:02X}" for byte in path.encode())
    check(CLIENT.ask(method, quoted))
