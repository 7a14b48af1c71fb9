"""Values of the engine as plain JSON values: the answers of the API, name by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serendip.data import Event, Item
from serendip.engine.answer import Answer, Explanation, SearchFeedback, Suggestions
from serendip.serve.engine_protocol import EngineProtocol


def answer(found: Answer, engine: EngineProtocol) -> dict[str, Any]:
    """An answer; each item carries its title, so that a list can be shown as it is."""
    return {
        "request_id": found.request_id,
        "generation": found.generation,
        "surface": found.surface,
        "items": [
            {
                "item_id": entry.item_id,
                "title": title_of(engine, entry.item_id),
                "score": _number(entry.score),
                "parts": _numbers(entry.parts),
                "reason": entry.reason,
                "sponsored": entry.sponsored,
            }
            for entry in found.items
        ],
        "next": found.next,
        "degraded": list(found.degraded),
    } | ({"query": _understood(found.understood)} if found.understood else {})


def _understood(text: SearchFeedback) -> dict[str, Any]:
    return {
        "searched": text.searched,
        "is_corrected": text.is_corrected,
        "did_you_mean": text.did_you_mean,
        "unknown": list(text.unknown),
        "by_meaning": text.by_meaning,
        "rewrites": [
            {"text": one.text, "kind": one.kind, "confidence": _number(one.confidence)}
            for one in text.rewrites
        ],
    }


def title_of(engine: EngineProtocol, item_id: str) -> str:
    """The title of an item; its id where there is none."""
    item = engine.item(item_id)
    return item.title if item is not None and item.title else item_id


def suggestions(found: Suggestions) -> dict[str, Any]:
    """Query suggestions, best first."""
    return {
        "request_id": found.request_id,
        "generation": found.generation,
        "suggestions": [
            {
                "text": one.text,
                "kind": one.kind,
                "item_id": one.item_id,
                "propensity": one.propensity,
            }
            for one in found.queries
        ],
    }


def explanation(found: Explanation, generation: str) -> dict[str, Any]:
    """Evidence first, then the numbers, then the stages."""
    return {
        "generation": generation,
        "item_id": found.item_id,
        "position": found.position,
        "evidence": [
            {
                "kind": one.kind,
                "text": one.text,
                "weight": _number(one.weight),
                "item_id": one.item_id,
            }
            for one in found.evidence
        ],
        "parts": _numbers(found.parts),
        "semantic_id": found.semantic_id,
        "trace": {stage: int(count) for stage, count in found.trace.items()},
    }


def item(found: Item, engine: EngineProtocol) -> dict[str, Any]:
    """An item with its codes."""
    return {
        "item_id": found.item_id,
        "title": found.title,
        "description": found.description,
        "attributes": {
            name: list(value)
            if isinstance(value, tuple)
            else _number(value)
            if isinstance(value, float)
            else value
            for name, value in found.attributes.items()
        },
        "available_from": found.available_from,
        "semantic_id": [int(code) for code in engine.semantic_id(found.item_id)],
        "code_label": engine.code_label(found.item_id),
    }


def event(found: Event) -> dict[str, Any]:
    """An event with all its columns."""
    return {
        "user_id": found.user_id,
        "item_id": found.item_id,
        "timestamp": _number(found.timestamp),
        "action": found.action,
        "value": None if found.value is None else _number(found.value),
        "query": found.query,
        "request_id": found.request_id,
        "position": found.position,
        "surface": found.surface,
        "session_id": found.session_id,
        "event_id": found.event_id,
    }


def _number(value: float) -> float | None:
    """A finite number, or None: JSON has no NaN."""
    plain = float(value)
    return plain if math.isfinite(plain) else None


def _numbers(parts: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in parts.items()}
