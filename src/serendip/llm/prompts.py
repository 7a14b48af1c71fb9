"""Prompts: versioned files with one place for the data, which is quoted against prompt injection.

Data is one line of JSON between ``<data>`` and ``</data>``, in which ``<``, ``>``, ``&`` and every
non-printable character are escaped: no text can end the block, and text of the catalogue or of
users appears nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from serendip.data.text import normalise
from serendip.errors import ConfigError
from serendip.llm.client import LlmRequest

_FOLDER = files("serendip.llm") / "prompts"
_PLACE = "{data}"
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said around the data.

    Args:
        name: with its version, as the file is called.
        system: who answers, and by which rules.
        user: the question, with one place for the data.
    """

    name: str
    system: str
    user: str

    @classmethod
    def named(cls, name: str) -> Prompt:
        """Read the file of that name.

        Raises:
            ConfigError: there is none.
        """
        found = {one.name: one for one in _FOLDER.iterdir()}
        if f"{name}.md" not in found:
            known = sorted(one.removesuffix(".md") for one in found if one.endswith(".md"))
            raise ConfigError(f"no prompt is called {name!r}.", f"Known: {', '.join(known)}.")
        return cls.of_text(name, found[f"{name}.md"].read_text(encoding="utf-8"))

    @classmethod
    def of_text(cls, name: str, text: str) -> Prompt:
        """From a text with the headings ``# System`` and ``# User``.

        Raises:
            ConfigError: a heading is missing, or the data has no place or several.
        """
        before, _, user = text.partition("\n# User\n")
        system = before.strip().removeprefix("# System\n").strip()
        if not system or not user.strip() or before.strip() == system or user.count(_PLACE) != 1:
            raise ConfigError(
                f"the prompt {name!r} is not as it should be.",
                f"It has `# System` and `# User`, and {_PLACE} once in the latter.",
            )
        return cls(name, system, user.strip())

    @property
    def digest(self) -> str:
        """Changes with every letter of the prompt."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:16]

    def tuned_on(self) -> frozenset[str]:
        """Digests of the queries that it was tuned on, as ``<name>.toml`` beside it says.

        Raises:
            ConfigError: nobody says, or it was said of other letters.
        """
        found = {one.name: one for one in _FOLDER.iterdir()}
        name = f"{self.name}.toml"
        if name not in found:
            raise ConfigError(
                f"nobody says what the prompt {self.name!r} was tuned on.",
                f"Write {name} beside it.",
            )
        told = tomllib.loads(found[name].read_text(encoding="utf-8"))
        if told["prompt"] != self.digest:
            raise ConfigError(
                f"{name} is about a prompt of digest {told['prompt']!r}; it is {self.digest!r}.",
                "Say anew what the prompt was tuned on.",
            )
        return frozenset(told["tuned_on"])

    def request(
        self, data: Mapping[str, Any], schema: Mapping[str, Any], max_tokens: int
    ) -> LlmRequest:
        """The question about some data, which gets its ``id`` to be told back."""
        name = data_id(data)
        user = self.user.replace(_PLACE, f"<data>{quoted({**data, 'id': name})}</data>")
        return LlmRequest(self.system, user, self.name, schema, max_tokens, name)


def query_digest(query: str) -> str:
    """What a query is known by in what prompts were tuned on; spelling is evened out."""
    return hashlib.sha256(normalise(query).encode()).hexdigest()[:16]


def data_key(data: Mapping[str, Any]) -> str:
    """What some data is known by: SHA-256, as those who write texts may look for equal ones."""
    whole = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def data_id(data: Mapping[str, Any]) -> str:
    """The beginning of that, short enough to be told back; an answer to something else is told."""
    return data_key(data)[:_ID_LENGTH]


def quoted(data: Mapping[str, Any]) -> str:
    """One line without a tag and without a letter that cannot be seen."""
    text = json.dumps(data, ensure_ascii=False)
    return "".join(
        letter if letter.isprintable() and letter not in "<>&" else _escaped(letter)
        for letter in text
    )


def _escaped(letter: str) -> str:
    """As JSON escapes any letter."""
    if letter in "<>&":
        return f"\\u{ord(letter):04x}"
    return json.dumps(letter)[1:-1]
