import io
import json
import logging
from collections.abc import Iterator

import pytest
from tiny_engine import TinyEngine
from wire_client import KeyedService, WireClient, as_cookie, bearer, error_of

from serendip.engine.config.serve import ServeConfig
from serendip.errors import StorageError
from serendip.serve.logs import FailureLog, set_up
from serendip.serve.server_options import ServerOptions

MAIL, QUERY, USER = "canary.mail@example.com", "canaryquery words", "canary-user-7"
CANARIES = ("canary.mail", "canaryquery", "canary-user")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    yield from written("json")


@pytest.fixture
def text_log() -> Iterator[io.StringIO]:
    yield from written("text")


def written(form) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    levels = {name: logging.getLogger(name).level for name in ("serendip", "uvicorn.error")}
    handler = set_up(form, stream)
    yield stream
    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Failing(TinyEngine):
    """Fails wherever a request comes in, with all that it holds in the words of the failure."""

    def __init__(self, failure: type[Exception]) -> None:
        super().__init__()
        self.failure = failure

    def _fail(self, *given):
        try:
            raise KeyError(given)
        except KeyError as cause:
            raise self.failure(f"failed on {given}") from cause

    recommend = suggest = explain = add_events = add_items = _fail
    delete_item = item = history = user = put_users = users = chosen = _fail
    change_item = list_items = change_user = _fail


BODY = {
    "user_id": USER,
    "item_id": MAIL,
    "q": QUERY,
    "query": QUERY,
    "title": QUERY,
    "attributes": {"mail": MAIL},
    "cursor": QUERY,
    "wrong": MAIL,
}


def ask_everything(service: KeyedService, shown: list[dict[str, str]]) -> int:
    """Ask every route in every way, with canaries in all places; returns the number of answers."""
    count = 0
    params = {"user_id": USER, "user": USER, "q": QUERY, "item_id": MAIL}
    for route in service.app.app.routes:
        for name in ("item_id", "user_id", "name"):
            path = route.path.replace("{" + name + ":path}", f"{USER}/{MAIL}")
            if path != route.path:
                break
        for method in route.methods:
            for headers in shown:
                for body in (BODY, {"user_id": USER, "item_id": MAIL}, [BODY], MAIL):
                    service.ask(method, path, params=params, json=body, headers=headers)
                    service.ask(method, path, json=body, headers=headers)
                service.ask(method, path, params=params, data=params, headers=headers)
                count += 9
    return count


@pytest.mark.parametrize("failure", [None, RuntimeError, ValueError])
def test_nothing_that_a_client_sent_is_in_the_log_or_in_the_metrics(tmp_path, log, failure):
    service = KeyedService(tmp_path, Failing(failure) if failure else None, logs_answers=True)
    secret = service.issue(["read", "write", "read:users", "admin"])
    shown = [bearer(secret), bearer(secret.text[:-2] + "xx"), {}]
    if failure is None:
        shown.append(as_cookie(service.visit() | {"mail": MAIL}))
    count = ask_everything(service, shown)
    metrics = service.get("/metrics", headers=bearer(secret)).text
    service.close()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) >= count  # one line for each answer, at least
    written = log.getvalue() + metrics
    found = [
        canary
        for canary in (*CANARIES, secret.text.partition(f"{secret.key.key_id}_")[2])
        if canary in written
    ]
    assert found == []
    if failure is not None:
        # By type: what threads of earlier tests still say is of other types, and of no request.
        told = [line for line in lines if failure.__name__ in str(line.get("error"))]
        assert told
        assert all(line["request_id"] for line in told)


def test_an_answer_is_a_line_with_its_route_status_and_time_and_the_id_in_its_header(log):
    assert WireClient().get("/v1/search?q=film").status_code == 200
    assert log.getvalue() == ""  # unless it is asked for
    client = WireClient(options=ServerOptions(config=ServeConfig(access_log=True)))
    answer = client.get(f"/v1/items/f1/similar?user_id={USER}")
    (line,) = (json.loads(line) for line in log.getvalue().splitlines())
    assert line.pop("time").endswith("Z")
    assert line.pop("ms") > 0
    assert line.pop("message").startswith("GET /v1/items/{item_id:path}/similar 200 ")
    assert line == {
        "level": "info",
        "logger": "serendip.access",
        "request_id": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/v1/items/{item_id:path}/similar",
        "status": 200,
    }


def test_a_failure_is_told_with_its_places_in_the_code_and_its_causes(log):
    answer = WireClient(Failing(RuntimeError)).get("/v1/users")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert answer.status_code == 500
    (line,) = [line for line in lines if line["level"] == "error"]
    assert line["request_id"] == error_of(answer)["request_id"]
    assert line["error"][0] == "RuntimeError"
    assert "KeyError" in line["error"]
    assert any(place.endswith(" _fail") for place in line["error"])


def test_failures_of_one_type_are_told_once_a_minute_with_their_number(log):
    now = [0.0]
    failures = FailureLog(logging.getLogger("serendip.test"), lambda: now[0])
    for second in range(0, 130, 5):
        now[0] = float(second)
        failures.write("answering from less", RuntimeError("secret"))
        failures.write("answering from less", StorageError("the disk is full."))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["error", "warning"] * 3
    assert [line["message"] for line in lines[::2]] == [
        "answering from less",
        *["answering from less (11 more before)"] * 2,
    ]
    assert lines[1]["message"] == "answering from less: the disk is full."
    assert lines[0]["error"] == ["RuntimeError"]


def test_the_id_of_a_request_is_once_in_a_line(text_log):
    failure = Failing(lambda words: StorageError("database s.db: disk is full."))
    stored = WireClient(failure).post("/v1/events", json={"user_id": "u", "item_id": "f1"})
    failed = WireClient(Failing(RuntimeError)).get("/v1/users")
    lines = [line for line in text_log.getvalue().splitlines() if not line.startswith("  ")]
    assert len(lines) == 2
    for line, answer in zip(lines, [stored, failed], strict=True):
        assert line.count(answer.headers["x-request-id"]) == 1


def test_warnings_of_the_http_server_about_what_clients_send_are_not_written(log):
    logging.getLogger("uvicorn.error").warning("Unsupported upgrade request.")
    logging.getLogger("other.package").warning("written")
    logging.getLogger("uvicorn.error").error("failed")
    messages = [json.loads(line)["message"] for line in log.getvalue().splitlines()]
    assert messages == ["written", "failed"]


def test_a_message_is_one_line_also_as_text(text_log):
    logging.getLogger("serendip.test").warning("first\nsecond\r\nthird")
    try:
        raise ValueError("the secret")
    except ValueError:
        logging.getLogger("serendip.test").exception("failed")
    first, second, *places = text_log.getvalue().splitlines()
    assert first.endswith("WARNING serendip.test: first second third")
    assert second.endswith("ERROR serendip.test: failed")
    assert places[0] == "  ValueError"
    assert all(place.startswith("  at ") for place in places[1:])
    assert "secret" not in text_log.getvalue()
