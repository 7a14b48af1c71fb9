"""Labels of pairs: by an LLM or by people, held against each other, handed on."""

from __future__ import annotations
