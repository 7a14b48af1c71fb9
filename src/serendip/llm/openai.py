"""LLM client for any OpenAI-compatible server; extra ``llm``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from serendip.errors import ConfigError, ExtraMissing
from serendip.llm.client import FailureKind, LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.config import LlmConfig

if TYPE_CHECKING:
    from openai import APIStatusError

_MAX_CHARS_PER_TOKEN = 16

_OVERHEAD_BYTES = 2**20

_BYTES_PER_CHAR = 6
"""Longest form of a character in JSON. Responses longer than both allow are not read further."""

_MAX_TOKENS = 2**31
_SDK_HEADERS = ("OpenAI-Organization", "OpenAI-Project")
"""Headers that the SDK takes from the environment for any server; they are removed."""

_QUESTION_STATUSES = (400, 413, 422)
"""Statuses of a rejected question: too long, or against the server's rules."""


class EndpointLlm:
    """Client of one model on an OpenAI-compatible server.

    A separate thread runs the connections, so that a request can be cancelled at any time while the
    server is still sending.

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
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError:
            raise ExtraMissing(
                "the openai SDK is not installed.", "pip install 'serendip[llm]'"
            ) from None
        self.config, self.model = config, config.model
        self._key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        hooks = _Hooks(
            [*_SDK_HEADERS, *([] if self._key else ["Authorization"])],
            _OVERHEAD_BYTES + _BYTES_PER_CHAR * _MAX_CHARS_PER_TOKEN * config.max_tokens,
        )
        self._client = AsyncOpenAI(
            base_url=config.base_url,
            api_key=self._key or "none",
            timeout=None,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(
                timeout=None,
                follow_redirects=False,
                event_hooks={"request": [hooks.prepare], "response": [hooks.limit]},
            ),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """Send a chat completion once; it must be complete within ``timeout_s``."""
        future = asyncio.run_coroutine_threadsafe(self._send(request), self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # No effect unless the calling thread was interrupted.

    async def _send(self, request: LlmRequest) -> LlmAnswer:
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            async with asyncio.timeout(self.config.timeout_s):
                completion: Any = await self._client.chat.completions.create(**self.body(request))
        except TimeoutError:
            raise LlmFailure("timeout", f"no answer in {self.config.timeout_s:g} s") from None
        except APIConnectionError as error:
            raise LlmFailure("connection", str(error.__cause__ or error)) from None
        except APIStatusError as error:
            raise self._classify_status(error) from None
        except (OpenAIError, ValueError, RecursionError) as error:
            raise LlmFailure("invalid", f"the body is no completion: {error}") from None
        return read_completion(completion, request)

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


class _Hooks:
    """Hooks of the HTTP client: remove headers of requests, limit the size of responses."""

    def __init__(self, removed_headers: list[str], max_bytes: int) -> None:
        self._removed_headers, self._max_bytes = removed_headers, max_bytes

    async def prepare(self, request: Any) -> None:
        """Remove headers, and demand an uncompressed body, whose size is that of its content."""
        request.headers["Accept-Encoding"] = "identity"
        for name in self._removed_headers:
            request.headers.pop(name, None)

    async def limit(self, response: Any) -> None:
        from openai import OpenAIError

        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            raise OpenAIError(f"it is packed as {coding[:20]}, which was not asked for")
        limited = self._limit_stream(response.stream)
        response.stream = type(response)(response.status_code, content=limited).stream

    async def _limit_stream(self, stream: Any) -> AsyncIterator[bytes]:
        from openai import OpenAIError

        remaining = self._max_bytes
        try:
            async for part in stream:
                remaining -= len(part)
                if remaining < 0:
                    raise OpenAIError(f"it is longer than {self._max_bytes:,} bytes")
                yield part
        finally:
            await stream.aclose()


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
