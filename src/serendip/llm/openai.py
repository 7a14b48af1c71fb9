"""LLM client for any OpenAI-compatible server; extra ``llm``."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from serendip.errors import ConfigError, ExtraMissing
from serendip.llm.client import FailureKind, LlmAnswer, LlmConfig, LlmFailure, LlmRequest

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_MAX_CHARS_PER_TOKEN = 16
_MAX_TOKENS = 2**31
_QUESTION_STATUSES = (400, 413, 422)  # too long, or against the server's rules


class EndpointLlm:
    """Client of one model on an OpenAI-compatible server.

    Raises ConfigError without an address or a model, ExtraMissing without the openai SDK.
    """

    def __init__(self, config: LlmConfig) -> None:
        for name in ("base_url", "model"):
            if not getattr(config, name):
                raise ConfigError(
                    f"[llm] provider = {config.provider!r} needs `{name}`.",
                    "Set it in serendip.toml, or provider = 'off'.",
                )
        try:
            import openai  # noqa: F401
        except ImportError:
            raise ExtraMissing(
                "the openai SDK is not installed.", "pip install 'serendip[llm]'"
            ) from None
        self.config, self.model = config, config.model
        self._key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        self._client: AsyncOpenAI | None = None

    async def close(self) -> None:
        """See ``Llm``."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def answer(self, request: LlmRequest) -> LlmAnswer:
        """Send a chat completion once; it must be complete within ``timeout_s``."""
        from openai import APIConnectionError, APIStatusError, Omit, OpenAIError

        # The SDK takes these from the environment, for any server.
        names = ["OpenAI-Organization", "OpenAI-Project", *([] if self._key else ["Authorization"])]
        body = {**self.body(request), "extra_headers": dict.fromkeys(names, Omit())}
        self._client = client = self._client or self._connect()
        try:
            async with asyncio.timeout(self.config.timeout_s):  # those of the SDK are for silence
                completion: Any = await client.chat.completions.create(**body)
        except TimeoutError:
            raise LlmFailure("timeout", f"no answer in {self.config.timeout_s:g} s") from None
        except APIConnectionError as error:
            raise LlmFailure("connection", str(error.__cause__ or error)) from None
        except APIStatusError as error:
            raise self._classify_status(error) from None
        except (OpenAIError, ValueError, RecursionError) as error:
            raise LlmFailure("invalid", f"the body is no completion: {error}") from None
        return read_completion(completion, request)

    def _connect(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=self.config.base_url,
            api_key=self._key or "none",
            timeout=None,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(timeout=None, follow_redirects=False),
        )

    def body(self, request: LlmRequest) -> dict[str, Any]:
        """Build the body of a request."""
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
        ]
        for answer, correction in request.earlier:
            messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": correction})
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            self.config.token_limit: request.max_tokens,
        }
        if self.config.temperature != "unset":
            arguments["temperature"] = self.config.temperature
        if self.config.sends_schema:
            schema = {"name": request.schema_name, "schema": dict(request.schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        return arguments

    def _classify_status(self, error: APIStatusError) -> LlmFailure:
        wait = _parse_seconds(error.response.headers.get("retry-after"))
        message = str(error.message)
        if self._key:
            message = message.replace(self._key, "[key]")
        kind: FailureKind = "denied"
        if error.status_code == 429:
            is_used_up = wait is None and "insufficient_quota" in (error.code, error.type)
            kind = "quota" if is_used_up else "rate"
        elif error.status_code in (408, 409) or error.status_code >= 500:
            kind = "server"
        elif error.status_code in _QUESTION_STATUSES:
            kind = "rejected"
        return LlmFailure(kind, message, wait)


def _parse_seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None


def read_completion(completion: Any, request: LlmRequest) -> LlmAnswer:
    """Read the first choice of a completion, whose fields may have any type.

    Raises:
        LlmFailure: it has no choice, or its answer is refused, truncated or too long.
    """
    try:
        choice = completion.choices[0]
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        reason, usage = choice.finish_reason, completion.usage
    except (AttributeError, IndexError, TypeError, KeyError):
        raise LlmFailure("invalid", "the body holds no choice") from None
    sent, answered = (_read_count(usage, f"{part}_tokens") for part in ("prompt", "completion"))
    text = text if isinstance(text, str) else ""
    answer = LlmAnswer(text.encode("utf-8", "replace").decode(), sent, answered)
    if refusal or reason == "content_filter":
        raise LlmFailure("refused", "the model does not want to answer", answer=answer)
    if reason == "length":
        raise LlmFailure("truncated", f"longer than {request.max_tokens} tokens", answer=answer)
    if len(answer.text) > _MAX_CHARS_PER_TOKEN * request.max_tokens:
        raise LlmFailure("invalid", f"an answer of {len(answer.text):,} letters", answer=answer)
    return answer


def _read_count(usage: Any, name: str) -> int | None:
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and 0 <= count < _MAX_TOKENS else None
