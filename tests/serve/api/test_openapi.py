from dataclasses import replace
from typing import Any

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.engine.request import AnswerItem, SearchFeedback
from serendip.search.rewrites import Rewrite
from serendip.serve.api import responses

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
HIDE = {"action": "hide", "items": ["f1"]}
REQUESTS = [
    ("get", "/v1/search", "/v1/search?q=horror", None),
    ("post", "/v1/search", "/v1/search", {"q": "horror", "parts": True, "fields": "year"}),
    ("get", "/v1/recommend", "/v1/recommend?user_id=u", None),
    ("post", "/v1/recommend", "/v1/recommend", {"surface": "cart", "item_id": ["f1"]}),
    ("get", "/v1/suggest", "/v1/suggest?q=fi", None),
    ("post", "/v1/suggest", "/v1/suggest", {"q": "fi"}),
    ("get", "/v1/explain", "/v1/explain?item_id=f9&user_id=u", None),
    ("post", "/v1/explain", "/v1/explain", {"item_id": "f9", "user_id": "u"}),
    ("get", "/v1/items/{item_id}/similar", "/v1/items/f1/similar", None),
    ("post", "/v1/items/{item_id}/similar", "/v1/items/f1/similar", {"limit": 2}),
    ("get", "/v1/users", "/v1/users", None),
    ("post", "/v1/users", "/v1/users", [{"user_id": "u", "attributes": {"age": 3}}]),
    ("post", "/v1/users", "/v1/users", {"users": []}),
    ("post", "/v1/users:get", "/v1/users:get", {"user_ids": ["u", "nobody"]}),
    ("patch", "/v1/users/{user_id}", "/v1/users/u", {"attributes": {"age": None}}),
    ("get", "/v1/users/{user_id}/history", "/v1/users/u/history", None),
    ("get", "/v1/users/{user_id}", "/v1/users/u", None),
    ("put", "/v1/users/{user_id}", "/v1/users/u", {"attributes": {"age": 3, "tags": ["a"]}}),
    ("delete", "/v1/users/{user_id}", "/v1/users/u", None),
    ("post", "/v1/users/{user_id}:merge", "/v1/users/u:merge", {"visitor_id": "v"}),
    ("get", "/v1/items/{item_id}", "/v1/items/f1", None),
    ("post", "/v1/items", "/v1/items", {"item_id": "n", "attributes": {"a": 1.5, "b": ["c"]}}),
    ("get", "/v1/items/{item_id}", "/v1/items/n", None),
    ("get", "/v1/items", "/v1/items?limit=3", None),
    ("post", "/v1/items:get", "/v1/items:get", {"item_ids": ["f1", "nothing"]}),
    ("patch", "/v1/items/{item_id}", "/v1/items/n", {"attributes": {"a": None}}),
    ("delete", "/v1/items/{item_id}", "/v1/items/n", None),
    ("post", "/v1/events", "/v1/events", [{"user_id": "u", "item_id": "f1", "value": 2}]),
    ("delete", "/v1/users/{user_id}", "/v1/users/u", None),
    ("get", "/v1/rules", "/v1/rules", None),
    ("put", "/v1/rules/{rule_id}", "/v1/rules/r", {"action": "hide", "items": ["f1", "no"]}),
    ("get", "/v1/rules", "/v1/rules", None),
    ("post", "/v1/rules:preview", "/v1/rules:preview", {"rules": [{"rule_id": "r", **HIDE}]}),
    ("delete", "/v1/rules/{rule_id}", "/v1/rules/r", None),
    ("get", "/v1/figures", "/v1/figures?days=28", None),
    ("get", "/health/live", "/health/live", None),
    ("get", "/health/ready", "/health/ready", None),
]
ERRORS = [
    (403, "/v1/search", {"host": "example.org"}),
    (404, "/v1/items/none", {}),
    (404, "/v2", {}),
    (405, "/v1/events", {}),
    (422, "/v1/search?limit=0", {}),
    (503, "/health/ready", {}),
]


class Interpreting(TinyEngine):
    """Adds the interpretation of the text, a number that is not finite and a skipped stage."""

    def recommend(self, request):
        answer = super().recommend(request)
        if request.surface != "search":
            return answer
        rewrites = (Rewrite("drama", "broader", 0.5),)
        feedback = SearchFeedback("horror", unknown=("x",), rewrites=rewrites)
        items = (AnswerItem("f1", "Film 001", float("nan")), *answer.items)
        return replace(answer, items=items, understood=feedback, degraded=("ranker",))


@pytest.fixture(scope="module")
def client() -> WireClient:
    client = WireClient(Interpreting())
    rows = [{"user_id": "u", "item_id": "f3"}, {"user_id": "u", "query": "q", "position": 1}]
    assert client.post("/v1/events", json=rows).status_code == 200
    return client


@pytest.fixture(scope="module")
def document(client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    paths = document["paths"].items()
    return [
        (method, path, operation)
        for path, methods in paths
        for method, operation in methods.items()
    ]


def schema_of(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name]


def problems(document: dict[str, Any], schema: dict[str, Any], value: Any, place: str) -> list[str]:
    """Every difference between a value and its schema; undeclared keys and bare types count."""
    schema = schema_of(document, schema)
    if "anyOf" in schema:
        each = [problems(document, choice, value, place) for choice in schema["anyOf"]]
        return min(each, key=len)
    allowed = [schema["const"]] if "const" in schema else schema.get("enum", [value])
    if value not in allowed:
        return [f"{place} is {value!r}, not one of {allowed}"]
    kind = schema.get("type")
    is_right = isinstance(value, TYPES[kind]) if kind in TYPES else False
    if not is_right or (isinstance(value, bool) and kind != "boolean"):
        return [f"{place} is {value!r}, not of type {kind}"]
    if kind == "array":
        parts = [(schema["items"], row, f"{place}[{n}]") for n, row in enumerate(value)]
    elif kind == "object" and "properties" in schema:
        required, fields = set(schema["required"]), schema["properties"]
        if not required <= set(value) <= set(fields):
            return [f"{place} has {sorted(value)}, not {sorted(fields)}"]
        parts = [(fields[name], field, f"{place}.{name}") for name, field in value.items()]
    elif kind == "object":
        rule = schema["additionalProperties"]
        parts = [(rule, field, f"{place}.{name}") for name, field in value.items()]
    else:
        parts = []
    return [text for part in parts for text in problems(document, *part)]


def test_every_route_has_a_typed_answer(document):
    for method, path, operation in operations(document):
        ((kind, content),) = operation["responses"]["200"]["content"].items()
        schema = schema_of(document, content["schema"])
        if path == "/metrics":
            assert (kind, schema["type"]) == ("text/plain", "string")
        else:
            assert kind == "application/json"
            assert schema["properties"], f"{method} {path}"
    components = document["components"]["schemas"]
    assert all(schema["properties"] for schema in components.values())
    names = [operation["operationId"] for *_, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_error_refers_to_the_one_schema(document):
    for *_, operation in operations(document):
        statuses = {name: body for name, body in operation["responses"].items() if name != "200"}
        assert set(statuses) == {str(status) for status in responses.ERRORS}
        for response in statuses.values():
            schema = response["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorOut"}


def test_every_answer_is_as_declared(client, document):
    for method, path, url, body in REQUESTS:
        response = client.ask(method.upper(), url, json=body)
        assert response.status_code == 200, url
        declared = document["paths"][path][method]["responses"]["200"]["content"]
        schema = declared["application/json"]["schema"]
        assert problems(document, schema, response.json(), f"{method} {path}") == []
    requested = {(method, path) for method, path, *_ in REQUESTS} | {("get", "/metrics")}
    assert requested == {(method, path) for method, path, _ in operations(document)}


@pytest.mark.parametrize(("status", "url", "headers"), ERRORS)
def test_every_error_is_as_declared(document, status, url, headers):
    client = WireClient()
    if status == 503:
        client.holder.swap(None)
    response = client.get(url, headers=headers)
    assert response.status_code == status
    assert status in responses.ERRORS
    error = document["components"]["schemas"]["ErrorOut"]
    assert problems(document, error, response.json(), "error") == []


@pytest.mark.parametrize(
    ("schema", "optional"),
    [
        ("AnswerItem", {"parts", "reason_parts", "attributes", "highlights"}),
        ("Answer", {"query", "facets", "experiment", "arm", "redirect", "banner"}),
        ("Suggestions", set()),
        ("Explanation", {"rules"}),
        ("Event", set()),
        ("StoredOut", {"unknown_items"}),
    ],
)
def test_fields_are_declared_once_with_their_meaning(document, schema, optional):
    body = document["components"]["schemas"][schema]
    assert set(body["properties"]) - set(body["required"]) == optional
    assert "Args" not in body["description"]
    if schema != "StoredOut":
        assert all(field["description"] for field in body["properties"].values())
    assert not any("default" in field for field in body["properties"].values())
