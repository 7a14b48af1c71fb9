"""The client against a real server that answers well, badly, late or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fault_server import Body, Reply, completion, error, judged, serving

from serendip.errors import ConfigError
from serendip.llm.client import LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.endpoint import EndpointLlm
from serendip.llm.judge import judge_task
from serendip.llm.settings import LlmConfig

PAIR = {"query": "red shoes", "title": "Red running shoes"}
REQUEST: LlmRequest = judge_task().request(PAIR, 50)


def asked(script: Callable[[Body, int], Reply], timeout_s: float = 5.0) -> LlmAnswer | LlmFailure:
    with serving(script) as server:
        config = LlmConfig(
            provider="endpoint", base_url=server.address, model="m", timeout_s=timeout_s
        )
        try:
            return EndpointLlm(config).answer(REQUEST)
        except LlmFailure as failure:
            return failure
        finally:
            assert len(server.bodies) == 1  # It tries once, whatever happens.


def test_a_question_is_sent_with_its_schema_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "sk-1")
    with serving(lambda body, _: completion(judged(body))) as server:
        config = LlmConfig(
            provider="endpoint", base_url=server.address, model="m", api_key_env="SHOP_KEY"
        )
        answer = EndpointLlm(config).answer(REQUEST)
    (body,) = server.bodies
    assert (answer.sent, answer.answered) == (100, 10)
    assert judge_task().read(answer.text, PAIR).label == "good"
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
        (error(401, "invalid_api_key"), "rejected"),
        (error(400, "bad"), "rejected"),
        (error(404, "model_not_found"), "rejected"),
        (Reply(b'{"choices": ['), "invalid"),
        (Reply(b"[]"), "invalid"),
        (Reply(b"null"), "invalid"),
        (Reply(b'"text"'), "invalid"),
        (Reply(b'{"choices": []}'), "invalid"),
        (Reply(b'{"choices": [{"message": null}]}'), "invalid"),
        (Reply(b"\xff\xfe"), "invalid"),
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
    assert isinstance(found, LlmFailure)
    assert found.kind == kind


def test_a_server_that_says_nothing_is_given_up() -> None:
    found = asked(lambda body, number: Reply(hangs=True), timeout_s=0.2)
    assert isinstance(found, LlmFailure)
    assert found.kind == "timeout"


def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    with serving(lambda body, number: Reply()) as server:
        address = server.address
    config = LlmConfig(provider="endpoint", base_url=address, model="m")
    with pytest.raises(LlmFailure, match=r"^connection"):
        EndpointLlm(config).answer(REQUEST)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.25", 0.25), ("-3", 0.0), ("soon", None), (None, None)]
)
def test_how_long_the_server_wants_to_be_left_alone(
    header: str | None, seconds: float | None
) -> None:
    headers = () if header is None else (("Retry-After", header),)
    found = asked(lambda body, number: error(429, "rate_limit_exceeded", *headers))
    assert isinstance(found, LlmFailure)
    assert found.retry_after == seconds


@pytest.mark.parametrize("usage", [None, (None, 3), ("many", "few"), (-1, 2)])
def test_tokens_that_the_server_does_not_count_are_not_known(usage: object) -> None:
    found = asked(lambda body, number: completion("{}", usage=usage))
    assert isinstance(found, LlmAnswer)
    assert found.sent is None or found.answered is None


def test_what_went_wrong_before_is_told() -> None:
    def script(body: Body, number: int) -> Reply:
        return completion(json.dumps([message["content"] for message in body["messages"][2:]]))

    with serving(script) as server:
        config = LlmConfig(provider="endpoint", base_url=server.address, model="m")
        request = LlmRequest("s", "u", "n", {}, 50, "", (("yes", "no JSON"),))
        assert EndpointLlm(config).answer(request).text == '["yes", "no JSON"]'


@pytest.mark.parametrize("missing", ["base_url", "model"])
def test_an_endpoint_needs_an_address_and_a_model(missing: str) -> None:
    values = {"base_url": "http://127.0.0.1:9/v1", "model": "m", missing: ""}
    with pytest.raises(ConfigError, match=f"needs `{missing}`"):
        EndpointLlm(LlmConfig(provider="endpoint", **values))  # type: ignore[arg-type]
