import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_client import WireClient, error_of

from serendip.serve.page.params import PageQuery
from serendip_bench.reliability.inputs.mutations import NAMES
from serendip_bench.reliability.inputs.requests import MISSING, VALID

CLIENT = WireClient()
ALLOWED = {200, 303, 400, 403, 404, 405, 413, 422}

GETS = sorted({one.route for one in (*VALID, *MISSING) if one.method == "GET"})
POSTS = sorted({one.route for one in VALID if one.method == "POST"})

names = st.sampled_from(NAMES) | st.text(max_size=8)
values = (
    st.text(max_size=40)
    | st.integers().map(str)
    | st.sampled_from(["NaN", "home", "search", "f1", "year", "-year", "genres"])
    | st.sampled_from(["genres=Comedy|Drama", "year>=1990", "genres!=Horror", "year<=x"])
)
paths = st.sampled_from([route.replace("{}", "f1") for route in GETS])
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
        "propensity": st.floats(),
        "surface": st.sampled_from(["home", "", "x"]),
        **dict.fromkeys(("event_id", "request_id", "session_id", "action"), st.text(max_size=4)),
        **dict.fromkeys(("query", "country", "device"), st.text(max_size=4)),
    },
)
posts = st.sampled_from([route.replace("{}", "f1") for route in POSTS])
often = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def check(response: httpx.Response) -> None:
    assert response.status_code in ALLOWED
    if response.status_code == 303:
        # A text or filter of the home page is that of a search; a form leads on to a page.
        assert re.match(r"/(search\?|items/|$)", response.headers["location"])
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


@often
@given(
    st.sampled_from(["/like", "/sign-in", "/sign-out"]),
    st.dictionaries(names, values, max_size=5) | st.just({"item_id": "f1"}),
)
def test_no_form_makes_the_service_fail(path, fields):
    check(
        CLIENT.post(
            path,
            data={name.encode("utf-8", "replace").decode(): text for name, text in fields.items()},
        )
    )


def declared_names() -> Iterator[tuple[str, str, str]]:
    """Method, route and name of every parameter of the API, and of every field of a body."""
    document = CLIENT.get("/openapi.json").json()
    for route, methods in document["paths"].items():
        for method, operation in methods.items():
            names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            content = operation.get("requestBody", {}).get("content", {})
            for media in content.values():
                names |= _field_names(media["schema"], document["components"]["schemas"])
            pattern = re.sub(r"\{\w+\}", "{}", route)
            yield from ((method.upper(), pattern, name) for name in names)


def _field_names(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """Names of the fields of an object, or of all kinds of objects that may be sent."""
    if "$ref" in schema:
        return _field_names(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    names = set(schema.get("properties", ()))
    return names.union(*(_field_names(one, schemas) for one in schema.get("anyOf", ())))


def test_the_valid_requests_of_the_fuzz_harness_name_every_parameter():
    sent = defaultdict(set)
    for request in VALID:
        body = request.value if isinstance(request.value, dict) else {}
        sent[request.method, request.route] |= {*request.query, *body, *(request.form or ())}
    declared = list(declared_names())
    assert len(declared) > 100
    assert [one for one in declared if one[2] not in sent[one[:2]]] == []
    pages = set().union(*(sent[place] for place in sent if not place[1].startswith("/v1")))
    assert set(PageQuery.model_fields) - pages == {"language"}  # that is a header


def test_the_requests_of_the_fuzz_harness_name_every_route():
    asked = {(request.method, request.route) for request in (*VALID, *MISSING)}
    routes = {
        (method, re.sub(r"\{[^}]+\}", "{}", route.path))
        for route in CLIENT.app.app.routes  # type: ignore[attr-defined]
        for method in route.methods - {"HEAD"}
    }
    assert len(routes) > 30
    assert routes - asked == set()
