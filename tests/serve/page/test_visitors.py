import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wire_client import KeyedService, as_cookie, visitor_of

from serendip.data import Event

SECRET_EVENT = Event("alice@example.com", "f3", 1.0, "like")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KeyedService]:
    service = KeyedService(tmp_path)
    service.engine.add_events([SECRET_EVENT])
    yield service
    service.close()


PAGES = ["/", "/search?q=film", "/items/f1", "/why?item_id=f1", "/more?cursor=18"]


@pytest.mark.parametrize("path", PAGES)
def test_a_new_visitor_gets_a_cookie_that_no_script_reads(service, path):
    header = service.get(path).headers["set-cookie"]
    assert re.match(r"serendip_visitor=visitor-[0-9a-f]{16}\.[\w-]{43};", header)
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=31536000"):
        assert part in header
    assert "Secure" not in header


def test_a_visitor_stays_who_they_are_and_gets_no_second_cookie(service):
    first = service.get("/")
    cookies = as_cookie(dict(first.cookies))
    second = service.get("/search?q=film", headers=cookies)
    assert visitor_of(first) == visitor_of(second) != ""
    assert "set-cookie" not in second.headers
    assert visitor_of(service.get("/")) != visitor_of(first)


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/items/none"])
@pytest.mark.parametrize("has_cookie", [False, True])
def test_a_visitor_never_sees_anybody_else(service, path, has_cookie):
    headers = as_cookie(service.visit()) if has_cookie else {}
    for user in ("", "alice@example.com"):
        separator = "&" if "?" in path else "?"
        html = service.get(f"{path}{separator}user={user}", headers=headers).text
        assert "alice" not in html
        assert "Whose feed" not in html
        assert "Because you" not in html


@pytest.mark.parametrize("visitor", ["alice@example.com", "visitor-0123456789abcdef"])
def test_a_cookie_that_the_service_did_not_sign_is_nobody(service, visitor):
    for value in (visitor, f"{visitor}.", f"{visitor}.{'A' * 43}"):
        response = service.get("/", headers={"cookie": f"serendip_visitor={value}"})
        assert visitor_of(response) != visitor
        assert "set-cookie" in response.headers


def test_what_a_visitor_does_counts_for_themselves_alone(service):
    cookies = service.visit()
    own = cookies["serendip_visitor"].partition(".")[0]
    form = {"user": "alice@example.com", "item_id": "f5"}
    assert service.post("/like", headers=as_cookie(cookies), data=form).status_code == 303
    assert [event.item_id for event in service.engine.history(own)] == ["f5"]
    assert service.engine.history("alice@example.com") == [SECRET_EVENT]

    cookies = service.visit()
    own = cookies["serendip_visitor"].partition(".")[0]
    event = {"user_id": own, "item_id": "f7", "action": "click"}
    headers = as_cookie(cookies)
    assert service.post("/v1/events", headers=headers, json=[event]).status_code == 200
    assert "Because you chose" in service.get("/", headers=headers).text


def test_a_key_with_the_scope_shows_all_users_and_changes_nothing(service):
    headers = as_cookie(service.sign_in("read:users"))
    assert "alice@example.com" in service.get("/", headers=headers).text
    page = service.get("/?user=alice@example.com", headers=headers)
    assert visitor_of(page) == "alice@example.com"
    assert "Because you liked" in page.text
    form = {"user": "alice@example.com", "item_id": "f5"}
    response = service.post("/like", headers=headers, data=form)
    assert response.status_code == 403
    assert "nothing can be changed" in response.text
    event = {"user_id": "alice@example.com", "item_id": "f5", "action": "click"}
    assert service.post("/v1/events", headers=headers, json=event).status_code == 403
    assert service.engine.history("alice@example.com") == [SECRET_EVENT]


@pytest.mark.parametrize("is_fragment", [False, True])
def test_numbers_of_the_ranking_are_for_those_who_sign_in(service, is_fragment):
    extra = {"hx-request": "true"} if is_fragment else {}
    for cookies, expected in (
        (service.visit(), False),
        (service.sign_in("read:users"), True),
        (service.sign_in("admin"), True),
    ):
        html = service.get("/why?item_id=f1", headers=as_cookie(cookies) | extra).text
        assert ("The numbers" in html or "The stages" in html) == expected


def test_the_report_is_for_a_key_with_the_scope_admin_in_a_session_of_half_a_day(service):
    key = service.issue(["read:users"])
    response = service.post("/sign-in", data={"key": f" {key.text} "})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    header = response.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Max-Age=43200"):
        assert part in header
    assert key.text not in header

    assert service.get("/report").status_code == 401
    headers = as_cookie(service.sign_in("admin"))
    assert service.get("/report", headers=headers).status_code == 404  # there is none
    assert "Whose feed" not in service.get("/", headers=headers).text


def test_a_session_ends_with_its_key_and_by_signing_out(service):
    key = service.issue(["read:users"])

    def sign_in() -> dict[str, str]:
        session = dict(service.post("/sign-in", data={"key": key.text}).cookies)
        return as_cookie(service.visit() | session)

    first, second = sign_in(), sign_in()
    assert "Whose feed" in service.get("/", headers=first).text
    out = service.post("/sign-out", headers=first)
    assert 'serendip_session=""' in out.headers["set-cookie"]
    assert "Max-Age=0" in out.headers["set-cookie"]
    for stolen in (first, second):  # cookies that somebody kept
        assert "Whose feed" not in service.get("/", headers=stolen).text
    again = sign_in()
    assert "Whose feed" in service.get("/", headers=again).text
    service.keys.revoke(key.key.key_id, time.time())
    service.access.load()
    assert "Whose feed" not in service.get("/", headers=again).text


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("write", 403), ("", 401)])
def test_other_keys_do_not_sign_in(service, scope, status):
    text = service.issue([scope]).text if scope else "serendip_0_x"
    response = service.post("/sign-in", data={"key": text})
    assert response.status_code == status
    assert "set-cookie" not in response.headers
    assert text not in response.text
