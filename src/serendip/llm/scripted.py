"""An LLM that is a function: deterministic, for tests, examples and dry runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serendip.llm.client import LlmAnswer, LlmRequest


@dataclass(frozen=True, slots=True)
class ScriptedLlm:
    """Answers by a function of the request.

    Args:
        script: request -> text of the answer; may raise ``LlmFailure``.
        model: its name.
    """

    script: Callable[[LlmRequest], str]
    model: str = "scripted"

    def answer(self, request: LlmRequest) -> LlmAnswer:
        """What the script says; a token is four letters."""
        text = self.script(request)
        return LlmAnswer(text, len(request.system + request.user) // 4, len(text) // 4)
