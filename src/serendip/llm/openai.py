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

_LETTERS_PER_TOKEN = 16
"""More than any answer has; what is longer than that is no answer to what was asked."""

_ROOM_BYTES = 2**20
_BYTES_PER_LETTER = 6
"""A body may have room for what models think and servers add, beside letters in their longest form
in JSON; what is longer is not read to its end."""

_MOST_TOKENS = 2**31
_OF_ANOTHER = ("OpenAI-Organization", "OpenAI-Project")
"""Headers that the SDK takes from the environment, wherever it speaks to."""

_OF_THIS_QUESTION = (400, 413, 422)
"""Too long, or about something that the server does not want to hear of."""


class EndpointLlm:
    """One server and one model there.

    A thread of its own holds the connections, so that an answer can be given up at any moment,
    whatever the server still sends.

    Args:
        config: address, model and limits.
        uses_proxies: whether the environment may name proxies.

    Raises:
        ConfigError: address or model are missing.
        ExtraMissing: the openai SDK is not installed.
    """

    def __init__(self, config: LlmConfig, uses_proxies: bool = True) -> None:
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
            [*_OF_ANOTHER, *([] if self._key else ["Authorization"])],
            _ROOM_BYTES + _BYTES_PER_LETTER * _LETTERS_PER_TOKEN * config.max_tokens,
        )
        self._client = AsyncOpenAI(
            base_url=config.base_url,
            api_key=self._key or "none",
            timeout=None,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(
                timeout=None,
                trust_env=uses_proxies,
                follow_redirects=False,
                event_hooks={"request": [hooks.prepare], "response": [hooks.bound]},
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
        """One chat completion, whole within ``timeout_s``."""
        asked = asyncio.run_coroutine_threadsafe(self._ask(request), self._loop)
        try:
            return asked.result()
        finally:
            asked.cancel()  # Does nothing but where whoever waits was interrupted.

    async def _ask(self, request: LlmRequest) -> LlmAnswer:
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            async with asyncio.timeout(self.config.timeout_s):
                found: Any = await self._client.chat.completions.create(**self.body(request))
        except TimeoutError:
            raise LlmFailure("timeout", f"no answer in {self.config.timeout_s:g} s") from None
        except APIConnectionError as error:
            raise LlmFailure("connection", str(error.__cause__ or error)) from None
        except APIStatusError as error:
            raise self._told_by_status(error) from None
        except (OpenAIError, ValueError, RecursionError) as error:
            raise LlmFailure("invalid", f"the body is no completion: {error}") from None
        return answer_of(found, request)

    def body(self, request: LlmRequest) -> dict[str, Any]:
        """What is sent."""
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.user},
        ]
        for said, wrong in request.earlier:
            messages.append({"role": "assistant", "content": said})
            messages.append({"role": "user", "content": wrong})
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

    def _told_by_status(self, error: APIStatusError) -> LlmFailure:
        """The failure that a status stands for."""
        wait = _seconds(error.response.headers.get("retry-after"))
        message = str(error.message)
        if self._key:
            message = message.replace(self._key, "[key]")
        return failure_of(error.status_code, (error.code, error.type), message, wait)


def failure_of(
    status: int, codes: tuple[Any, Any], message: str, wait: float | None = None
) -> LlmFailure:
    """The failure that an HTTP status stands for.

    Args:
        status: 300 or above.
        codes: ``code`` and ``type`` of the error.
        message: what the server says.
        wait: seconds after which it wants to be asked again; None = it does not say.
    """
    kind: FailureKind = "denied"
    if status == 429:
        is_used_up = wait is None and "insufficient_quota" in codes
        kind = "quota" if is_used_up else "rate"
    elif status in (408, 409) or status >= 500:
        kind = "server"
    elif status in _OF_THIS_QUESTION:
        kind = "rejected"
    return LlmFailure(kind, message, wait)


class _Hooks:
    """What is done to each request before it leaves, and to each answer before it is read.

    Args:
        unsent: names of headers that do not leave.
        most_bytes: of a body.
    """

    def __init__(self, unsent: list[str], most_bytes: int) -> None:
        self._unsent, self._most_bytes = unsent, most_bytes

    async def prepare(self, request: Any) -> None:
        """Leave out headers, and ask for a body whose length is that of what it holds."""
        request.headers["Accept-Encoding"] = "identity"
        for name in self._unsent:
            request.headers.pop(name, None)

    async def bound(self, response: Any) -> None:
        """Let no more be read than a body may have."""
        from openai import OpenAIError

        coding = response.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            raise OpenAIError(f"it is packed as {coding[:20]}, which was not asked for")
        counted = self._counted(response.stream)
        response.stream = type(response)(response.status_code, content=counted).stream

    async def _counted(self, stream: Any) -> AsyncIterator[bytes]:
        from openai import OpenAIError

        left = self._most_bytes
        try:
            async for part in stream:
                left -= len(part)
                if left < 0:
                    raise OpenAIError(f"it is longer than {self._most_bytes:,} bytes")
                yield part
        finally:
            await stream.aclose()


def _seconds(header: str | None) -> float | None:
    """A wait in seconds; None where the header is a date or nothing."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None


def answer_of(found: Any, request: LlmRequest) -> LlmAnswer:
    """The first choice of a completion, whose fields may be anything."""
    try:
        choice = found.choices[0]
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        reason, usage = choice.finish_reason, found.usage
    except (AttributeError, IndexError, TypeError, KeyError):
        raise LlmFailure("invalid", "the body holds no choice") from None
    sent, answered = (_count(usage, f"{part}_tokens") for part in ("prompt", "completion"))
    text = text if isinstance(text, str) else ""
    answer = LlmAnswer(text.encode("utf-8", "replace").decode(), sent, answered)
    if refusal or reason == "content_filter":
        raise LlmFailure("refused", "the model does not want to answer", answer=answer)
    if reason == "length":
        raise LlmFailure("truncated", f"longer than {request.max_tokens} tokens", answer=answer)
    if len(answer.text) > _LETTERS_PER_TOKEN * request.max_tokens:
        raise LlmFailure("invalid", f"an answer of {len(answer.text):,} letters", answer=answer)
    return answer


def _count(usage: Any, name: str) -> int | None:
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and 0 <= count < _MOST_TOKENS else None
