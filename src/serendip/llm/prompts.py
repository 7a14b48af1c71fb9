"""Prompts: versioned files with a placeholder for data, quoted against prompt injection.

Data is one line of JSON between ``<data>`` and ``</data>``, in which ``<``, ``>``, ``&`` and every
non-printable character are escaped: no text can end the block, and text of the catalogue or of
users appears nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from serendip.errors import ConfigError
from serendip.llm.client import LlmRequest

_FOLDER = files("serendip.llm") / "prompts"
_PLACEHOLDER = "{data}"
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Prompt:
    """Prompt template: its name has a version, its user message a placeholder for the data."""

    name: str
    system: str
    user: str

    @classmethod
    def named(cls, name: str) -> Prompt:
        """Read the prompt file of this name.

        Raises:
            ConfigError: there is no such file, or it is not a prompt.
        """
        files_by_name = {file.name: file for file in _FOLDER.iterdir()}
        if f"{name}.md" not in files_by_name:
            known = sorted(
                file_name.removesuffix(".md")
                for file_name in files_by_name
                if file_name.endswith(".md")
            )
            raise ConfigError(f"no prompt is called {name!r}.", f"Known: {', '.join(known)}.")
        return cls.of_text(name, files_by_name[f"{name}.md"].read_text(encoding="utf-8"))

    @classmethod
    def of_text(cls, name: str, text: str) -> Prompt:
        """Parse a text with the headings ``# System`` and ``# User``.

        Raises:
            ConfigError: a heading is missing, or the placeholder does not occur exactly once.
        """
        before, _, user = text.partition("\n# User\n")
        system = before.strip().removeprefix("# System\n").strip()
        has_headings = system and user.strip() and before.strip() != system
        if not has_headings or user.count(_PLACEHOLDER) != 1:
            raise ConfigError(
                f"the prompt {name!r} has the wrong form.",
                f"It needs `# System` and `# User`, and {_PLACEHOLDER} once in the latter.",
            )
        return cls(name, system, user.strip())

    @property
    def digest(self) -> str:
        """Hash of the prompt's text."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:16]

    def request(
        self, data: Mapping[str, Any], schema: Mapping[str, Any], max_tokens: int
    ) -> LlmRequest:
        """Build the request for some data, with an ``id`` that the answer must repeat."""
        identifier = data_id(data)
        quoted = quote_data({**data, "id": identifier})
        user = self.user.replace(_PLACEHOLDER, f"<data>{quoted}</data>")
        return LlmRequest(self.system, user, self.name, schema, max_tokens, identifier)


def data_key(data: Mapping[str, Any]) -> str:
    """SHA-256 of data; authors of texts may try to make keys collide, so no shorter hash."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def data_id(data: Mapping[str, Any]) -> str:
    """Beginning of the key, short enough for a model to repeat; reveals answers to other data."""
    return data_key(data)[:_ID_LENGTH]


def quote_data(data: Mapping[str, Any]) -> str:
    """Quote data as a line of JSON without tags and non-printable characters."""
    text = json.dumps(data, ensure_ascii=False)
    return "".join(
        character if character.isprintable() and character not in "<>&" else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    if character in "<>&":
        return f"\\u{ord(character):04x}"
    return json.dumps(character)[1:-1]
