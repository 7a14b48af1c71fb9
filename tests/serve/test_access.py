import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fastapi import APIRouter
from wire_client import KeyedService, WireClient, as_cookie, bearer, error_of, visitor_of

from serendip.cli.serve import open_server_options
from serendip.data.api_key import SCOPES, ApiKey, IssuedKey, issue_key
from serendip.data.store.tables.api_keys import KeySnapshot
from serendip.errors import StorageError, UnauthenticatedError
from serendip.serve.access import Access
from serendip.serve.api.strict_route import StrictRoute
from serendip.serve.server_options import LOCAL, ServerOptions, read_secret

EVENT = {"user_id": "u", "item_id": "f1", "action": "click"}
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
POST /v1/users:get                     401    401     yes     403  403   yes        403   401
GET /v1/users/{user_id:path}/history   401    401     yes     403  403   yes        403   401
GET /v1/users/{user_id:path}           401    401     yes     403  403   yes        403   401
GET /v1/items                          401    401     403     yes  403   403        403   401
POST /v1/items:get                     401    401     403     yes  403   403        403   401
GET /v1/items/{item_id:path}           401    401     403     yes  403   403        403   401
GET /v1/figures                        401    401     yes     403  403   403        yes   401
POST /v1/events                        401    own     own     403  yes   403        403   401
PUT /v1/users/{user_id:path}           401    401     403     403  yes   403        403   401
POST /v1/users/{user_id:path}:merge    401    401     403     403  403   403        403   401
PATCH /v1/users/{user_id:path}         401    401     403     403  403   403        403   401
POST /v1/users                         401    401     403     403  yes   403        403   401
POST /v1/items                         401    401     403     403  yes   403        403   401
PATCH /v1/items/{item_id:path}         401    401     403     403  403   403        403   401
DELETE /v1/items/{item_id:path}        401    401     403     403  yes   403        403   401
DELETE /v1/users/{user_id:path}        401    401     403     403  403   403        403   401
GET /v1/rules                          401    401     yes     403  403   403        yes   401
PUT /v1/rules/{rule_id:path}           401    401     403     403  403   403        403   401
DELETE /v1/rules/{rule_id:path}        401    401     403     403  403   403        403   401
POST /v1/rules:preview                 401    401     yes     403  403   403        yes   401
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
GET /office                            401    401     yes     403  403   403        yes   401
GET /report                            401    401     yes     403  403   403        yes   401
GET /docs                              yes    yes     yes     yes  yes   yes        yes   yes
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
    routes = client.app.app.routes  # type: ignore[attr-defined]
    assert routes
    return [
        f"{method} {route.path}" for route in routes for method in sorted(route.methods - {"HEAD"})
    ]


PARTS = {
    "{item_id:path}": "f1",
    "{user_id:path}": "u",
    "{name:path}": "page.css",
    "{rule_id:path}": "r",
}


def ask(client: WireClient, name: str, headers: dict[str, str], own: str = "") -> str:
    """The cell of a route and a role."""
    method, path = name.split()
    for part, value in PARTS.items():
        path = path.replace(part, "n" if method == "DELETE" else value)
    if path in ("/sign-in", "/like") and method == "POST":
        status = client.post(path, headers=headers, data={"item_id": "f1"}).status_code
        return "yes" if status in (200, 303, 401) else str(status)
    body = None if method == "GET" else EVENT if path == "/v1/events" else {}
    status = client.ask(method, path, headers=headers, json=body).status_code
    if status == 403 and own and path == "/v1/events":
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
    service.access.load()
    own = {
        "visitor": visitor["serendip_visitor"].partition(".")[0],
        "session": session["serendip_visitor"].partition(".")[0],
    }
    names = names_of(service)
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


@pytest.mark.parametrize("row", TABLE.splitlines()[1:])
def test_without_keys_everything_is_answered(row: str) -> None:
    assert ask(WireClient(), " ".join(row.split()[:2]), {}) == "yes"


def test_a_route_without_a_scope_cannot_be_made() -> None:
    router = APIRouter(route_class=StrictRoute)
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


def test_a_key_ends_once_it_expires_and_comes_before_the_body(service: KeyedService) -> None:
    issued = service.issue(["read"], lifetime_s=0.0)
    response = service.get("/v1/search", headers=bearer(issued))
    assert error_of(response)["message"] == f"key {issued.key.key_id} is expired."
    assert service.post("/v1/events", content=b"{" * 100_000).status_code == 401


def test_a_visitor_gets_suggestions_for_nobody_else(service: KeyedService) -> None:
    cookies = as_cookie(service.visit())
    assert service.get("/v1/suggest?user_id=u", headers=cookies).status_code == 403
    body = {"user_id": "u"}
    assert service.post("/v1/suggest", headers=cookies, json=body).status_code == 403
    cookies = as_cookie(service.sign_in("read:users"))
    assert service.get("/v1/suggest?user_id=u", headers=cookies).status_code == 200


def test_the_document_declares_what_is_enforced(service: KeyedService) -> None:
    document = service.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    paths = document["paths"]
    assert paths["/v1/search"]["get"]["security"] == [{"key": ["read"]}]
    assert paths["/v1/events"]["post"]["security"] == [{"key": ["write"]}, {"visitor": []}]
    assert paths["/health/live"]["get"]["security"] == []


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


@dataclass
class Source:
    """Keys in memory, that can fail."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    commit: int | None = 0
    reads: int = 0
    failure: str = ""
    ended: Counter[str] = field(default_factory=Counter)

    def end_sessions(self, key_id: str) -> None:
        self.ended[key_id] += 1
        self.commit = (self.commit or 0) + 1

    def commit_number(self) -> int | None:
        return self.commit

    def read(self) -> KeySnapshot:
        if self.failure:
            raise StorageError(self.failure)
        self.reads += 1
        return KeySnapshot(dict(self.keys), dict(self.ended))

    def close(self) -> None:
        self.failure = "closed"


def access_to(source: Source, secret: bytes = b"s" * 32) -> Access:
    """What a worker knows, once it has read the keys."""
    access = Access(replace(LOCAL, open_keys=lambda: source, secret=secret))
    access.load()
    return access


def opened(*issued: IssuedKey) -> tuple[Access, Source]:
    source = Source({one.key.key_id: one.key for one in issued})
    return access_to(source), source


def test_a_key_is_found_by_its_text_alone():
    one, other = issue_key("", ["read"]), issue_key("", ["read"])
    ring, _ = opened(one, other)
    assert [ring.require_key(issued.text) for issued in (one, other)] == [one.key, other.key]
    mixed = f"serendip_{one.key.key_id}_{other.text.rpartition('_')[2]}"
    unknown = issue_key("", ["read"]).text
    wrong = [one.text[:-1], f"{one.text}x", mixed, unknown, "", "x" * 10_000, "\ud800"]
    for text in wrong:
        with pytest.raises(UnauthenticatedError, match="not known"):
            ring.require_key(text)


def test_keys_are_read_again_only_after_a_commit():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    ring.load()
    assert source.reads == 1
    revoked = time.time() + 1_000.0  # by a clock that is ahead of this one
    source.keys[issued.key.key_id] = replace(source.keys[issued.key.key_id], revoked=revoked)
    source.commit = 1
    ring.load()
    with pytest.raises(UnauthenticatedError, match="revoked"):
        ring.require_key(issued.text)
    assert source.reads == 2
    source.commit = None  # unknown: read every time
    ring.load()
    assert source.reads == 3


def test_a_failure_leaves_the_keys():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    source.commit, source.failure = 1, "the disk is gone."
    with pytest.raises(StorageError, match="disk is gone"):
        ring.load()
    assert ring.require_key(issued.text) == issued.key
    source.failure, source.keys = "", {}
    ring.load()
    with pytest.raises(UnauthenticatedError):
        ring.require_key(issued.text)


def test_it_is_open_without_any_key_and_only_for_this_machine():
    assert Access().is_open
    assert not Access(ServerOptions("0.0.0.0")).is_open
    ring, source = opened()
    assert ring.is_open
    key = issue_key("", ["read"], now=0.0).key
    source.keys, source.commit = {key.key_id: replace(key, revoked=1.0)}, 1
    ring.load()
    assert not ring.is_open


def test_what_is_signed_is_read_for_the_same_purpose_and_unchanged_only():
    ring, source = opened()
    signed = ring.sign("visitor", "visitor-1")
    assert ring.read_signed("visitor", signed) == "visitor-1"
    assert ring.read_signed("session", signed) == ""
    for place in range(len(signed)):
        changed = signed[:place] + ("x" if signed[place] != "x" else "y") + signed[place + 1 :]
        assert ring.read_signed("visitor", changed) == ""
    other, same = access_to(source, b"t" * 32), access_to(source)
    assert other.read_signed("visitor", signed) == ""
    assert same.read_signed("visitor", signed) == "visitor-1"
    assert Access().read_signed("visitor", signed) == ""


def test_sessions_of_a_key_end_together_in_every_worker():
    one, other = issue_key("", ["admin"]), issue_key("", ["admin"])
    ring, source = opened(one, other)
    beside = access_to(source)
    sessions = [ring.begin_session(issued.key) for issued in (one, one, other)]
    assert [beside.find_session(session) for session in sessions] == [one.key, one.key, other.key]
    ring.end_sessions(one.key)
    beside.load()
    for each in (ring, beside):
        assert [each.find_session(session) for session in sessions] == [None, None, other.key]
    assert ring.find_session(ring.begin_session(one.key)) == one.key


@pytest.mark.parametrize("url", ["", "postgresql+psycopg://serendip@db.internal/shop"])
def test_who_reads_a_database_signs_nothing(tmp_path: Path, url: str):
    issued = issue_key("", ["admin"])
    source = Source({issued.key.key_id: issued.key})

    def serve(folder: str) -> Access:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "serendip.toml").write_text(f'[store]\nurl = "{url}"\n')
        options = open_server_options(tmp_path / folder, "127.0.0.1", 0)
        return access_to(source, options.secret)

    one, same, thief = serve("shop"), serve("shop"), serve("elsewhere")
    assert (tmp_path / "shop" / "sessions.secret").stat().st_mode & 0o777 == 0o600
    session = one.begin_session(issued.key)
    assert same.find_session(session) == issued.key
    for forger in (thief, access_to(source)):
        assert one.find_session(forger.begin_session(issued.key)) is None
    shutil.copyfile(*(tmp_path / name / "sessions.secret" for name in ("shop", "elsewhere")))
    assert serve("elsewhere").find_session(session) == issued.key


def read_secrets(path: Path, count: int = 2) -> set[bytes]:
    with ThreadPoolExecutor(count) as pool:
        return set(pool.map(lambda _: read_secret(path), range(count)))


@pytest.mark.parametrize("left", [None, b"", b"half", b"x" * 31])
def test_processes_that_start_at_once_make_one_whole_secret(tmp_path: Path, left: bytes | None):
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "secret"
        if left is not None:
            path.write_bytes(left)
        assert read_secrets(path, 8) == {path.read_bytes()}
        assert len(path.read_bytes()) == 32
        assert path.stat().st_mode & 0o777 == 0o600
        assert {each.name for each in folder.iterdir()} == {"secret"}


def test_a_secret_is_on_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sync, synced = os.fsync, []

    def note(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        assert len((tmp_path / "secret").read_bytes()) == 32
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    read_secret(tmp_path / "secret")
    assert synced == [tmp_path / "secret", tmp_path]


def test_a_whole_secret_is_read_and_nothing_is_written(tmp_path: Path):
    path = tmp_path / "secret"
    path.write_bytes(b"k" * 64)
    assert read_secrets(path) == {b"k" * 64}
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
    assert path.read_bytes() == b"k" * 64


def test_where_no_file_can_be_made_a_service_has_a_secret_of_its_own(tmp_path: Path, caplog):
    one, other = (read_secret(tmp_path / "nowhere" / "secret") for _ in range(2))
    assert len(one) == len(other) == 32
    assert one != other
    assert "cannot be made" in caplog.text
