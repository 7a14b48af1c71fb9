"""What ``/openapi.json`` says about each route; the words come from the models themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message", "hint", "request_id"],
            "properties": {
                name: {"type": "string"} for name in ("type", "message", "hint", "request_id")
            },
        }
    },
}
_ERRORS = {
    "403": "The host or origin is not allowed.",
    "404": "The item or route is not known.",
    "405": "The route has other methods.",
    "413": "The body is too large.",
    "422": "A parameter or the body is wrong.",
    "503": "The service is loading, or cannot store now; Retry-After says when to try again.",
}
_BATCHES = {"/v1/events": "events", "/v1/items": "items"}


@dataclass(frozen=True, slots=True)
class Documented:
    """One route.

    Args:
        path: its pattern.
        method: GET, POST or DELETE.
        model: its parameters or body; None where it has neither.
    """

    path: str
    method: str
    model: type[BaseModel] | None = None

    def extra(self) -> dict[str, Any]:
        """The parts of an OpenAPI operation that the framework cannot see."""
        found: dict[str, Any] = {"responses": self._responses()}
        parameters = self._path_parameters()
        if self.model is not None and self.method == "POST":
            found["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": self._body()}},
            }
        elif self.model is not None:
            parameters += self._query_parameters()
        if parameters:
            found["parameters"] = parameters
        return found

    def _responses(self) -> dict[str, Any]:
        kind = "text/plain" if self.path == "/metrics" else "application/json"
        schema = {"type": "string" if kind == "text/plain" else "object"}
        good = {"description": "The answer.", "content": {kind: {"schema": schema}}}
        content = {"application/json": {"schema": _ERROR}}
        return {"200": good} | {
            status: {"description": text, "content": content} for status, text in _ERRORS.items()
        }

    def _path_parameters(self) -> list[dict[str, Any]]:
        names = re.findall(r"{(\w+)(?::path)?}", self.path)
        schema = {"type": "string", "minLength": 1}
        return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]

    def _query_parameters(self) -> list[dict[str, Any]]:
        schema = self._schema()
        required = schema.get("required", ())
        return [
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": part.pop("description", ""),
                "schema": part,
            }
            for name, part in schema["properties"].items()
        ]

    def _body(self) -> dict[str, Any]:
        one = self._schema()
        name = _BATCHES.get(self.path)
        if name is None:
            return one
        many = {"type": "array", "items": one}
        wrapped = {
            "type": "object",
            "required": [name],
            "properties": {name: many},
            "additionalProperties": False,
        }
        return {"oneOf": [one, many, wrapped]}

    def _schema(self) -> dict[str, Any]:
        if self.model is None:
            return {}
        return self.model.model_json_schema()
