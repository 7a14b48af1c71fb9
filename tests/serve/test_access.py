"""Who may call which route: every route with every role, and what a key is worth over time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from keyed_service import KeyedService, as_cookie, bearer, visitor_of
from wire_client import WireClient, error_of

from serendip.data.api_key import SCOPES
from serendip.serve.access import ScopedRoute
from serendip.serve.api.strict_route import StrictRoute

EVENT = {"user_id": "u", "item_id": "f1", "action": "click"}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "GET /openapi.json": ("/openapi.json", {}),
    "GET /v1/search": ("/v1/search?q=film", {}),
    "POST /v1/search": ("/v1/search", {"json": {"q": "film"}}),
    "GET /v1/recommend": ("/v1/recommend?user_id=u", {}),
    "POST /v1/recommend": ("/v1/recommend", {"json": {"user_id": "u"}}),
    "GET /v1/suggest": ("/v1/suggest?q=fi", {}),
    "POST /v1/suggest": ("/v1/suggest", {"json": {"q": "fi"}}),
    "GET /v1/explain": ("/v1/explain?item_id=f1", {}),
    "POST /v1/explain": ("/v1/explain", {"json": {"item_id": "f1"}}),
    "GET /v1/items/{item_id:path}/similar": ("/v1/items/f1/similar", {}),
    "POST /v1/items/{item_id:path}/similar": ("/v1/items/f1/similar", {"json": {}}),
    "GET /v1/users": ("/v1/users", {}),
    "GET /v1/users/{user_id:path}/history": ("/v1/users/u/history", {}),
    "GET /v1/users/{user_id:path}": ("/v1/users/u", {}),
    "GET /v1/items/{item_id:path}": ("/v1/items/f1", {}),
    "POST /v1/events": ("/v1/events", {"json": EVENT}),
    "PUT /v1/users/{user_id:path}": ("/v1/users/u", {"json": {"attributes": {}}}),
    "POST /v1/items": ("/v1/items", {"json": {"item_id": "n"}}),
    "DELETE /v1/items/{item_id:path}": ("/v1/items/n", {}),
    "DELETE /v1/users/{user_id:path}": ("/v1/users/n", {}),
    "GET /health/live": ("/health/live", {}),
    "GET /health/ready": ("/health/ready", {}),
    "GET /metrics": ("/metrics", {}),
    "GET /": ("/", {}),
    "GET /search": ("/search?q=film", {}),
    "GET /why": ("/why?item_id=f1", {}),
    "GET /more": ("/more", {}),
    "GET /items/{item_id:path}": ("/items/f1", {}),
    "GET /sign-in": ("/sign-in", {}),
    "POST /sign-in": ("/sign-in", {"data": {"key": ""}}),
    "POST /like": ("/like", {"data": {"item_id": "f1"}}),
    "POST /sign-out": ("/sign-out", {}),
    "GET /report": ("/report", {}),
    "GET /static/{name:path}": ("/static/page.css", {}),
    "GET /media/items/{item_id:path}": ("/media/items/f1", {}),
}
"""A request for each route."""

TABLE = """
route                                  nobody visitor session read write read:users admin revoked
GET /openapi.json                      yes    yes     yes     yes  yes   yes        yes   yes
GET /v1/search                         401    401     403     yes  403   403        403   401
POST /v1/search                        401    401     403     yes  403   403        403   401
GET /v1/recommend                      401    401     403     yes  403   403        403   401
POST /v1/recommend                     401    401     403     yes  403   403        403   401
GET /v1/suggest                        401    yes     yes     yes  403   403        403   401
POST /v1/suggest                       401    yes     yes     yes  403   403        403   401
GET /v1/explain                        401    401     403     yes  403   403        403   401
POST /v1/explain                       401    401     403     yes  403   403        403   401
GET /v1/items/{item_id:path}/similar   401    401     403     yes  403   403        403   401
POST /v1/items/{item_id:path}/similar  401    401     403     yes  403   403        403   401
GET /v1/users                          401    401     yes     403  403   yes        403   401
GET /v1/users/{user_id:path}/history   401    401     yes     403  403   yes        403   401
GET /v1/users/{user_id:path}           401    401     yes     403  403   yes        403   401
GET /v1/items/{item_id:path}           401    401     403     yes  403   403        403   401
POST /v1/events                        401    own     own     403  yes   403        403   401
PUT /v1/users/{user_id:path}           401    401     403     403  yes   403        403   401
POST /v1/items                         401    401     403     403  yes   403        403   401
DELETE /v1/items/{item_id:path}        401    401     403     403  yes   403        403   401
DELETE /v1/users/{user_id:path}        401    401     403     403  403   403        403   401
GET /health/live                       yes    yes     yes     yes  yes   yes        yes   yes
GET /health/ready                      yes    yes     yes     yes  yes   yes        yes   yes
GET /metrics                           401    401     yes     403  403   403        yes   401
GET /                                  yes    yes     yes     yes  yes   yes        yes   yes
GET /search                            yes    yes     yes     yes  yes   yes        yes   yes
GET /why                               yes    yes     yes     yes  yes   yes        yes   yes
GET /more                              yes    yes     yes     yes  yes   yes        yes   yes
GET /items/{item_id:path}              yes    yes     yes     yes  yes   yes        yes   yes
GET /sign-in                           yes    yes     yes     yes  yes   yes        yes   yes
POST /like                             yes    yes     yes     yes  yes   yes        yes   yes
POST /sign-in                          yes    yes     yes     yes  yes   yes        yes   yes
POST /sign-out                         yes    yes     yes     yes  yes   yes        yes   yes
GET /report                            401    401     yes     403  403   403        yes   401
GET /static/{name:path}                yes    yes     yes     yes  yes   yes        yes   yes
GET /media/items/{item_id:path}        yes    yes     yes     yes  yes   yes        yes   yes
""".strip()
"""yes = answered, own = answered for the visitor's own id alone. The session is of a key with all
scopes."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KeyedService]:
    service = KeyedService(tmp_path)
    yield service
    service.close()


def names_of(client: WireClient) -> list[str]:
    """Every route of the application."""
    routes = client.app.app.routes  # type: ignore[attr-defined]
    assert routes
    return [
        f"{method} {route.path}" for route in routes for method in sorted(route.methods - {"HEAD"})
    ]


def ask(client: WireClient, name: str, headers: dict[str, str], own: str = "") -> str:
    """The cell of a route and a role."""
    path, options = REQUESTS[name]
    if name == "POST /sign-in" or name == "POST /like":
        status = client.post(path, headers=headers, **options).status_code
        return "yes" if status in (200, 303, 401) else str(status)
    status = client.ask(name.split()[0], path, headers=headers, **options).status_code
    if status == 403 and own and name == "POST /v1/events":
        body = {**EVENT, "user_id": own}
        return "own" if client.post(path, headers=headers, json=body).status_code == 200 else "403"
    return str(status) if status in (401, 403, 429) else "yes"


def test_every_route_and_role(service: KeyedService, capsys: pytest.CaptureFixture[str]) -> None:
    visitor, session = service.visit(), service.sign_in(*SCOPES)
    revoked = service.issue(SCOPES)
    roles = {
        "nobody": {},
        "visitor": as_cookie(visitor),
        "session": as_cookie(session),
        **{scope: bearer(service.issue([scope])) for scope in SCOPES},
        "revoked": bearer(revoked),
    }
    service.keys.revoke(revoked.key.key_id, time.time())
    service.ring.load()
    own = {
        "visitor": visitor["serendip_visitor"].partition(".")[0],
        "session": session["serendip_visitor"].partition(".")[0],
    }
    names = names_of(service)
    assert sorted(names) == sorted(REQUESTS)
    rows = dict[str, str]()
    for name in sorted(names, key=lambda name: name == "POST /sign-out"):  # it ends the session
        cells = [
            f"{ask(service, name, headers, own.get(role, '')):<{len(role)}}"
            for role, headers in roles.items()
        ]
        rows[name] = f"{name:<38} {' '.join(cells)}".rstrip()
    table = "\n".join([f"{'route':<38} {' '.join(roles)}", *(rows[name] for name in names)])
    with capsys.disabled():
        print(f"\n{table}")  # noqa: T201 - the table is what the test is for
    assert table == TABLE


def test_an_erasure_needs_two_scopes_at_once(service: KeyedService) -> None:
    both = bearer(service.issue(["write", "read:users"]))
    service.post("/v1/events", json=EVENT, headers=both)
    for scopes in (["write"], ["read:users"], ["read", "write", "admin"]):
        response = service.ask("DELETE", "/v1/users/u", headers=bearer(service.issue(scopes)))
        assert response.status_code == 403
        assert "--scope write --scope read:users" in error_of(response)["hint"]
    response = service.ask("DELETE", "/v1/users/u", headers=both)
    receipt = response.json()
    assert (response.status_code, receipt["events"], receipt["is_complete"]) == (200, 1, False)
    assert [place["state"] for place in receipt["places"]] == ["erased", "pending"]
    assert service.get("/v1/users/u/history", headers=both).json()["events"] == []


@pytest.mark.parametrize("name", REQUESTS)
def test_without_keys_everything_is_answered(name: str) -> None:
    assert ask(WireClient(), name, {}) == "yes"


@pytest.mark.parametrize("route_class", [ScopedRoute, StrictRoute])
def test_a_route_without_a_scope_cannot_be_made(route_class: type) -> None:
    router = APIRouter(route_class=route_class)
    with pytest.raises(TypeError, match="/secret declares no scope"):
        router.add_api_route("/secret", lambda: None)


def test_a_refusal_names_the_scope_and_the_next_step(service: KeyedService) -> None:
    response = service.get("/v1/users")
    error = error_of(response)
    assert (response.status_code, error["type"]) == (401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "read:users" in error["message"]
    assert "serendip keys create --scope read:users" in error["hint"]
    response = service.get("/v1/users", headers=bearer(service.any_key))
    error = error_of(response)
    assert (response.status_code, error["type"]) == (403, "forbidden")
    assert error["message"].startswith(f"key {service.any_key.key.key_id} ")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_name_of_the_scheme_has_no_case(service: KeyedService, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {service.any_key.text}"}
    assert service.get("/v1/search?q=film", headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "", "x"])
def test_other_headers_are_no_key(service: KeyedService, header: str) -> None:
    response = service.get("/v1/search", headers={"authorization": header})
    assert response.status_code == 401


def test_every_altered_key_is_refused(service: KeyedService) -> None:
    text = service.any_key.text
    for place in range(len(text)):
        other = "x" if text[place] != "x" else "y"
        wrong = text[:place] + other + text[place + 1 :]
        assert service.get("/v1/search", headers=bearer(wrong)).status_code == 401
    assert service.get("/v1/search", headers=bearer(text)).status_code == 200


def test_a_key_in_the_address_is_no_key(service: KeyedService) -> None:
    assert service.get(f"/v1/search?key={service.any_key.text}").status_code == 401


def test_a_key_is_refused_once_it_expires(service: KeyedService) -> None:
    issued = service.issue(["read"], lifetime_s=0.0)
    response = service.get("/v1/search", headers=bearer(issued))
    assert error_of(response)["message"] == f"key {issued.key.key_id} is expired."


def test_a_service_that_has_had_a_key_is_never_open_again(service: KeyedService) -> None:
    service.keys.revoke(service.any_key.key.key_id, time.time())
    service.ring.load()
    assert service.get("/v1/search").status_code == 401
    response = service.get("/v1/search", headers=bearer(service.any_key))
    assert error_of(response)["message"].endswith("is revoked.")


def test_a_body_is_not_parsed_before_the_key_is_known(service: KeyedService) -> None:
    assert service.post("/v1/events", content=b"{" * 100_000).status_code == 401


def test_unknown_routes_are_404_for_everybody(service: KeyedService) -> None:
    assert service.get("/v1/secrets").status_code == 404
    assert service.post("/v1/users").status_code == 405


def test_the_document_declares_what_is_enforced(service: KeyedService) -> None:
    document = service.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    paths = document["paths"]
    assert paths["/v1/search"]["get"]["security"] == [{"key": ["read"]}]
    assert paths["/v1/events"]["post"]["security"] == [{"key": ["write"]}, {"visitor": []}]
    assert paths["/health/live"]["get"]["security"] == []


@pytest.mark.parametrize(
    "events",
    [
        [{**EVENT, "user_id": "u"}],
        [{**EVENT, "action": "purchase"}],
        [EVENT] * 101,
    ],
)
def test_a_visitor_sends_only_what_the_page_sends(service: KeyedService, events: list) -> None:
    cookies = service.visit()
    own = cookies["serendip_visitor"].partition(".")[0]
    rows = [
        {**row, "user_id": own} if row is EVENT or "purchase" in row.values() else row
        for row in events
    ]
    response = service.post("/v1/events", headers=as_cookie(cookies), json=rows)
    assert response.status_code == 403
    assert service.engine.history(own) == service.engine.history("u") == []


def test_a_visitor_gets_suggestions_for_nobody_else(service: KeyedService) -> None:
    cookies = as_cookie(service.visit())
    assert service.get("/v1/suggest?user_id=u", headers=cookies).status_code == 403
    body = {"user_id": "u"}
    assert service.post("/v1/suggest", headers=cookies, json=body).status_code == 403
    cookies = as_cookie(service.sign_in("read:users"))
    assert service.get("/v1/suggest?user_id=u", headers=cookies).status_code == 200


OTHER_COOKIES = ['prefs={"a":1}', "a b=c", "x=é", "lonely", "k[0]=1", 'q="half', "$Version=1", ";;"]


@pytest.mark.parametrize("other", OTHER_COOKIES)
@pytest.mark.parametrize("is_first", [True, False])
def test_other_cookies_of_the_host_sign_nobody_out(
    service: KeyedService, other: str, is_first: bool
) -> None:
    cookies = service.sign_in("read:users")
    own = cookies["serendip_visitor"].partition(".")[0]
    parts = [other, as_cookie(cookies)["cookie"]]
    header = "; ".join(parts if is_first else parts[::-1]).encode("latin-1")
    response = service.get("/", headers={b"cookie": header})
    assert visitor_of(response) == own
    assert "set-cookie" not in response.headers
    assert service.get("/v1/users", headers={b"cookie": header}).status_code == 200
