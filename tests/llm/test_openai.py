import json
from collections.abc import Callable

import pytest
from fault_server import Body, Reply, answer, client, completion, error, judged, serving

from serendip.errors import ConfigError
from serendip.llm.client import LlmAnswer, LlmConfig, LlmFailure, LlmRequest
from serendip.llm.openai import EndpointLlm
from serendip.llm.tasks import Judgement, Task

PAIR = {"query": "red shoes", "title": "Red running shoes"}
REQUEST: LlmRequest = Task.of(Judgement).request(PAIR, 50)


def asked(script: Callable[[Body, int], Reply], timeout_s: float = 5.0) -> LlmAnswer | LlmFailure:
    with serving(script) as server:
        try:
            return answer(client(server.address, timeout_s=timeout_s), REQUEST)
        except LlmFailure as failure:
            return failure
        finally:
            assert len(server.bodies) == 1  # It tries once, whatever happens.


def test_a_question_is_sent_with_its_schema_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "sk-1")
    with serving(lambda body, _: completion(judged(body))) as server:
        told = answer(client(server.address, api_key_env="SHOP_KEY"), REQUEST)
    (body,) = server.bodies
    assert (told.sent, told.answered) == (100, 10)
    assert Task.of(Judgement).read(told.text, PAIR).label == "good"
    assert server.keys == ["Bearer sk-1"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 50)
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == ["id", "label", "confidence"]
    assert schema["schema"]["additionalProperties"] is False
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(429, "rate_limit_exceeded"), "rate"),
        (error(429, "insufficient_quota"), "quota"),
        (error(500, "oops"), "server"),
        (error(503, "overloaded"), "server"),
        (error(429, "quota_increase_asked_for"), "rate"),
        (error(429, "insufficient_quota", ("Retry-After", "1")), "rate"),
        (error(401, "invalid_api_key"), "denied"),
        (error(403, "no"), "denied"),
        (error(404, "model_not_found"), "denied"),
        (error(302, "elsewhere", ("Location", "http://127.0.0.1:9/")), "denied"),
        (error(400, "content_filter"), "rejected"),
        (error(413, "context_length_exceeded"), "rejected"),
        (Reply(b'{"choices": ['), "invalid"),
        (Reply(b"[]"), "invalid"),
        (Reply(b"null"), "invalid"),
        (Reply(b'"text"'), "invalid"),
        (Reply(b'{"choices": []}'), "invalid"),
        (Reply(b'{"choices": [{"message": null}]}'), "invalid"),
        (Reply(b"\xff\xfe"), "invalid"),
        (Reply(b"[" * 200_000), "invalid"),
        (Reply(b"x" * 1000, sent=10), "connection"),
        (Reply(b"x" * 1000, sent=0), "connection"),
        (completion("{", finish="length"), "truncated"),
        (completion(None, refusal="No."), "refused"),
        (completion("", finish="content_filter"), "refused"),
        (completion("x" * 5000), "invalid"),
    ],
)
def test_every_failure_has_a_name(reply: Reply, kind: str) -> None:
    found = asked(lambda body, number: reply)
    assert found.kind == kind


def test_a_server_that_says_nothing_is_given_up() -> None:
    found = asked(lambda body, number: Reply(hangs=True), timeout_s=0.2)
    assert found.kind == "timeout"


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_slow_drip_is_given_up_after_the_whole_time(part: str) -> None:
    """A byte comes every twentieth of a second, so there is never a silence to wait out."""
    with serving(lambda body, number: Reply(drips=part)) as server:
        with pytest.raises(LlmFailure) as caught:
            answer(client(server.address, timeout_s=0.5), REQUEST)
        assert 0 < server.dripped < 100
    assert (caught.value.kind, caught.value.message) == ("timeout", "no answer in 0.5 s")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.25", 0.25), ("-3", 0.0), ("soon", None), (None, None)]
)
def test_how_long_the_server_wants_to_be_left_alone(
    header: str | None, seconds: float | None
) -> None:
    headers = () if header is None else (("Retry-After", header),)
    found = asked(lambda body, number: error(429, "rate_limit_exceeded", *headers))
    assert found.retry_after == seconds


@pytest.mark.parametrize("usage", [None, (None, 3), ("many", "few"), (-1, 2), (10**30, 2)])
def test_tokens_that_the_server_does_not_count_are_not_known(usage: object) -> None:
    found = asked(lambda body, number: completion("{}", usage=usage))
    assert found.sent is None or found.answered is None


def test_half_a_letter_is_no_end_of_everything() -> None:
    cut = json.dumps({"choices": []}).replace(
        "[]",
        '[{"finish_reason": "stop", "message": {"role": "assistant", "content": "cut \\ud83d"}}]',
    )
    found = asked(lambda body, number: Reply(cut.encode()))
    assert found.text == "cut ?"


def test_what_is_wrong_is_told_without_the_key_and_without_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_KEY", "sk-secret")
    body = {"error": {"message": "bad key sk-secret \x1b[2J\x00", "code": "x", "type": "x"}}
    with (
        serving(lambda asked, number: Reply(json.dumps(body).encode(), 401)) as server,
        pytest.raises(LlmFailure) as caught,
    ):
        answer(client(server.address, api_key_env="SHOP_KEY"), REQUEST)
    assert "sk-secret" not in str(caught.value)
    assert "[key]" in caught.value.message
    assert caught.value.message.isprintable()


def test_what_other_servers_or_models_need_is_sent_to_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "secret-of-another-server")
    with serving(lambda body, _: completion(judged(body))) as server:
        answer(client(server.address), REQUEST)
    assert "secret-of-another-server" not in str(server.headers)
    assert server.keys == [None]

    own = {"token_limit": "max_completion_tokens", "temperature": "unset", "sends_schema": False}
    with serving(lambda body, _: completion(judged(body))) as server:
        answer(client(server.address, **own), REQUEST)
    (body,) = server.bodies
    assert set(body) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize("missing", ["base_url", "model"])
def test_an_endpoint_needs_an_address_and_a_model(missing: str) -> None:
    values = {"base_url": "http://127.0.0.1:9/v1", "model": "m", missing: ""}
    with pytest.raises(ConfigError, match=f"needs `{missing}`"):
        EndpointLlm(LlmConfig(provider="endpoint", **values))  # type: ignore[arg-type]
