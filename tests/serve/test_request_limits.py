import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wire_client import WireClient, error_of

from serendip.data import limits as stored
from serendip.data.items.attribute_test import MAX_VALUES
from serendip.engine.engine import Engine
from serendip.serve import limits

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "share.md"
EVENT = {"user_id": "u", "item_id": "f1"}


@dataclass(frozen=True)
class Limit:
    """A limit that users meet.

    Args:
        words: in the guide.
        most: the largest number that is accepted.
        path: of the request, where it is not the same for all.
        build: the body of a request with a number of what is limited.
        is_stored: whether the engine knows the limit, and not the API alone.
    """

    words: str
    most: int
    path: str
    build: Callable[[int], Any]
    is_stored: bool = False


def item(**fields: Any) -> dict[str, Any]:
    return {"item_id": "f1", **fields}


def split(size: int) -> list[str]:
    whole, rest = divmod(size, stored.MAX_TEXT_CHARS)
    return ["x" * stored.MAX_TEXT_CHARS] * whole + ["x" * rest]


LIMITS = (
    Limit(
        "items of an answer, `limit`",
        limits.MAX_K,
        "/v1/search",
        lambda n: {"q": "a", "limit": n},
    ),
    Limit(
        "characters of a query",
        stored.MAX_QUERY_CHARS,
        "/v1/search",
        lambda n: {"q": "한" * n},
    ),
    Limit(
        "characters of a filter",
        stored.MAX_QUERY_CHARS,
        "/v1/search",
        lambda n: {"filter": ["year=" + "1" * (n - 5)]},
    ),
    Limit(
        "filters", limits.MAX_FILTERS, "/v1/search", lambda n: {"q": "a", "filter": ["year=1"] * n}
    ),
    Limit(
        "values of all filters",
        MAX_VALUES,
        "/v1/search",
        lambda n: {"filter": ["genre=" + "|".join(map(str, range(n - 1))), "genre!=a"]},
        is_stored=True,
    ),
    Limit("facets", limits.MAX_FACETS, "/v1/search", lambda n: {"q": "a", "facet": ["year"] * n}),
    Limit("fields of an item", limits.MAX_FIELDS, "/v1/search", lambda n: {"fields": ["year"] * n}),
    Limit("ids of a body", limits.MAX_K, "/v1/items:get", lambda n: {"item_ids": ["f1"] * n}),
    Limit(
        "context items",
        limits.MAX_SOURCE_ITEMS,
        "/v1/recommend",
        lambda n: {"surface": "cart", "item_id": ["f1"] * n},
    ),
    Limit(
        "characters of a cursor",
        limits.MAX_CURSOR_CHARS,
        "/v1/search",
        lambda n: {"q": "film", "cursor": "0" * n},
    ),
    Limit("events of a body", limits.MAX_BATCH, "/v1/events", lambda n: [EVENT] * n),
    Limit("items of a body", limits.MAX_BATCH, "/v1/items", lambda n: {"items": [item()] * n}),
    Limit("users of a body", limits.MAX_BATCH, "/v1/users", lambda n: [{"user_id": "u"}] * n),
    Limit(
        "bytes of an id, or of the name of an attribute",
        stored.MAX_ID_BYTES,
        "/v1/items",
        lambda n: item(attributes={"x" * n: 1}),
    ),
    Limit(
        "characters of a text of an item",
        stored.MAX_TEXT_CHARS,
        "/v1/items",
        lambda n: item(title="한" * n),
    ),
    Limit(
        "characters of all texts of an item",
        stored.MAX_ITEM_CHARS,
        "/v1/items",
        lambda n: item(attributes={"a": split(n)}),
        is_stored=True,
    ),
    Limit(
        "attributes of an item or user",
        stored.MAX_ATTRIBUTES,
        "/v1/items",
        lambda n: item(attributes={f"a{number}": 1 for number in range(n)}),
    ),
    Limit(
        "values of an attribute",
        stored.MAX_ATTRIBUTE_VALUES,
        "/v1/items",
        lambda n: item(attributes={"a": ["x"] * n}),
    ),
)
NODES = Limit(
    "lists and objects in a body",
    limits.MAX_JSON_NODES,
    "/v1/events",
    lambda n: [[]] * (n - 1),
)


def send(client: WireClient, limit: Limit, count: int) -> tuple[int, str]:
    response = client.post(limit.path, json=limit.build(count))
    return response.status_code, "" if response.is_success else error_of(response)["message"]


@pytest.mark.parametrize(
    "limit", [one for one in LIMITS if not one.is_stored], ids=lambda one: one.words
)
def test_the_limit_is_accepted_and_one_more_is_refused(limit: Limit) -> None:
    client = WireClient()
    for count in (limit.most - 1, limit.most):
        assert send(client, limit, count) == (200, "")
    events = client.engine.stats()["events"]
    status, message = send(client, limit, limit.most + 1)
    assert status == 422
    assert message
    assert client.engine.stats()["events"] == events


@pytest.mark.parametrize(
    "limit", [one for one in LIMITS if one.is_stored], ids=lambda one: one.words
)
def test_a_limit_of_the_engine_is_one_over_http(limit: Limit, engine: Engine) -> None:
    client = WireClient(engine)  # type: ignore[arg-type]
    counts = (limit.most - 1, limit.most, limit.most + 1)
    assert [send(client, limit, count)[0] for count in counts] == [200, 200, 422]


@pytest.mark.parametrize("size", [10, limits.MAX_BODY_BYTES * 8])
def test_a_compressed_body_is_refused_and_never_unpacked(size: int) -> None:
    client = WireClient()
    body = gzip.compress(json.dumps(EVENT | {"query": "x" * size}).encode())
    assert len(body) < limits.MAX_BODY_BYTES
    response = client.post("/v1/events", content=body, headers={"content-encoding": "gzip"})
    assert response.status_code == 422
    assert "not JSON" in error_of(response)["message"]
    assert error_of(response)["hint"] == "Send JSON as UTF-8, not compressed."
    assert client.engine.stats()["events"] == 0


def test_the_guide_names_every_limit_with_its_number() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", GUIDE.read_text(encoding="utf-8"), re.M)
    named = {words: int(number.replace(",", "")) for words, number in rows}
    assert named == {limit.words: limit.most for limit in (*LIMITS, NODES)}
