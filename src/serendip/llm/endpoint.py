"""An LLM behind any OpenAI-compatible address; extra ``llm``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from serendip.errors import ConfigError, ExtraMissing
from serendip.llm.client import FailureKind, LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.settings import LlmConfig

if TYPE_CHECKING:
    from openai import APIStatusError

_NO_KEY = "none"
"""What is sent as a key where there is none: servers of one's own ask for none."""

_LETTERS_PER_TOKEN = 16
"""More than any answer has; what is longer than that is no answer to what was asked."""


class EndpointLlm:
    """One server and one model there.

    Args:
        config: address, model and limits.

    Raises:
        ConfigError: address or model are missing.
        ExtraMissing: the openai SDK is not installed.
    """

    def __init__(self, config: LlmConfig) -> None:
        for name in ("base_url", "model"):
            if not getattr(config, name):
                raise ConfigError(
                    f"[llm] provider = {config.provider!r} needs `{name}`.",
                    "Set it in serendip.toml, or provider = 'off'.",
                )
        try:
            from openai import OpenAI
        except ImportError:
            raise ExtraMissing(
                "the openai SDK is not installed.", "pip install 'serendip[llm]'"
            ) from None
        self.model = config.model
        self._client = OpenAI(
            base_url=config.base_url,
            api_key=os.environ.get(config.api_key_env) or _NO_KEY,
            timeout=config.timeout_s,
            max_retries=0,
        )

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """One chat completion at temperature 0, bound to the schema where the server can."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        messages: list[Any] = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
        ]
        for said, wrong in request.earlier:
            messages.append({"role": "assistant", "content": said})
            messages.append({"role": "user", "content": wrong})
        schema = {"name": request.schema_name, "schema": dict(request.schema), "strict": True}
        form: Any = {"type": "json_schema", "json_schema": schema}
        try:
            found: Any = self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                response_format=form,
                max_tokens=request.max_tokens,
                temperature=0,
            )
        except APITimeoutError as error:
            raise LlmFailure("timeout", str(error)) from None
        except APIConnectionError as error:
            raise LlmFailure("connection", str(error.__cause__ or error)) from None
        except APIStatusError as error:
            raise _told_by_status(error) from None
        except (OpenAIError, ValueError) as error:
            raise LlmFailure("invalid", f"the body is no completion: {error}") from None
        return _answer_of(found, request)


def _told_by_status(error: APIStatusError) -> LlmFailure:
    """The failure that a status stands for."""
    kind: FailureKind = "rejected"
    if error.status_code == 429:
        kind = "quota" if "quota" in f"{error.code} {error.type} {error.message}" else "rate"
    elif error.status_code in (408, 409) or error.status_code >= 500:
        kind = "server"
    return LlmFailure(kind, error.message, _seconds(error.response.headers.get("retry-after")))


def _seconds(header: str | None) -> float | None:
    """A wait in seconds; None where the header is a date or nothing."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None


def _answer_of(found: Any, request: LlmRequest) -> LlmAnswer:
    """The first choice of a completion, whose fields may be anything."""
    try:
        choice = found.choices[0]
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        reason, usage = choice.finish_reason, found.usage
    except (AttributeError, IndexError, TypeError, KeyError):
        raise LlmFailure("invalid", "the body holds no choice") from None
    told = [getattr(usage, f"{part}_tokens", None) for part in ("prompt", "completion")]
    sent, answered = (count if isinstance(count, int) and count >= 0 else None for count in told)
    answer = LlmAnswer(text if isinstance(text, str) else "", sent, answered)
    if refusal or reason == "content_filter":
        raise LlmFailure("refused", str(refusal or reason), answer=answer)
    if reason == "length":
        raise LlmFailure("truncated", f"longer than {request.max_tokens} tokens", answer=answer)
    if len(answer.text) > _LETTERS_PER_TOKEN * request.max_tokens:
        raise LlmFailure("invalid", f"an answer of {len(answer.text):,} letters", answer=answer)
    return answer
