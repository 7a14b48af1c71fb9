"""Bodies of responses: what only the API answers, and how bodies are encoded and declared.

The answers of the engine (``engine.request``) and the rows of the store are bodies as they are:
their fields are declared there, once. Nothing is validated on the way out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, cast

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict

from serendip.content.encoders.media_files import FileProblem
from serendip.data import Event, Item
from serendip.data.rules import Rule
from serendip.data.users.user import User
from serendip.engine.request import Answer, ItemFile
from serendip.serve.api.types import read_docstring

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class ItemOut(Item):
    """An item of the catalogue, with what a generation says of it.

    Args:
        semantic_id: its codes, coarse to fine; empty = not encoded.
        code_label: what the items with the same first code have in common; empty = unknown.
        files: modality (``image``, ``audio``) -> state of the item's file; only those that it names
            and the settings read.
    """

    generated_text: Annotated[str, Field(exclude=True)] = ""
    semantic_id: tuple[int, ...] = ()
    code_label: str = ""
    files: dict[str, ItemFile] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, engine: Engine) -> ItemOut:
        """An item as an engine knows it."""
        return cls(
            **{name.name: getattr(item, name.name) for name in fields(Item)},
            semantic_id=engine.semantic_id(item.item_id),
            code_label=engine.code_label(item.item_id),
            files=engine.files(item),
        )


class ItemsOut(TypedDict):
    """Items that were asked for."""

    items: list[ItemOut]
    """Those that exist, in the order of the request."""

    unknown: list[str]
    """Ids that no item has."""


class ItemListOut(TypedDict):
    """A part of the catalogue."""

    items: list[ItemOut]
    """In the order of ids."""

    cursor: str
    """Of the next part; empty on the last one."""


class UserRowsOut(TypedDict):
    """The attributes of users."""

    users: list[User]
    """In the order of the request; of an unknown user none."""


class UserOut(TypedDict):
    """A known user."""

    user_id: str
    """Their id."""

    num_events: int
    """Number of their events of all actions."""


class UsersOut(TypedDict):
    """Known users."""

    users: list[UserOut]
    """Most active first."""


class HistoryOut(TypedDict):
    """The history of a user."""

    user_id: str
    """The user."""

    events: list[Event]
    """Newest first, without impressions."""


class StoredOut(TypedDict):
    """Confirmation that rows were stored."""

    received: int
    """Number of rows in the body."""

    new: int
    """Number of rows that are stored now. The others were known by their ``event_id``, repeat an
    event of a visitor, or are older than the erasure of their user."""

    unknown_items: NotRequired[list[str]]
    """Ids that events name and no item has, ten at most. Such events are stored, and count once
    there is an item."""


class StoredItemsOut(StoredOut):
    """Confirmation that items were stored."""

    left_out: list[FileProblem]
    """Pictures and sounds that cannot be used, as far as is seen without opening them."""


class DeletedOut(TypedDict):
    """Confirmation that an item was deleted."""

    item_id: str
    """The item."""

    deleted: Literal[True]
    """Always true; an unknown item is an error."""


class RulesOut(TypedDict):
    """The rules."""

    version: int
    """Number of changes so far."""

    rules: list[Rule]
    """In force, those that have not begun or have ended included."""


class ChangedRuleOut(TypedDict):
    """Confirmation that a rule was stored or removed; an unknown one to remove is an error."""

    rule_id: str
    """The rule."""

    version: int
    """Of all rules from now on."""

    unknown_items: list[str]
    """Ids that it names and no item has, ten at most; it counts once there is an item."""


class PreviewOut(TypedDict):
    """Two answers to one request."""

    with_rules: Answer
    """With the rules of the body, beside those in force."""

    without_rules: Answer
    """Without them."""


class LiveOut(TypedDict):
    """The process runs."""

    status: Literal["live"]
    """Always ``live``."""


@dataclass(frozen=True, slots=True)
class ReadyOut:
    """A generation answers.

    Args:
        status: always ``ready``; a service without a generation answers 503.
        generation: name of the current generation.
        workers: number of processes that answer.
        degraded: whether a generation was refused, writes fail, or a worker is missing.
        refused_generation: the published generation that could not be opened; empty = none.
        storage_problem: why writes fail; empty = they do not.
    """

    status: Literal["ready"]
    generation: str
    workers: int
    degraded: bool
    refused_generation: str
    storage_problem: str


class ErrorDetailOut(TypedDict):
    """What went wrong."""

    type: str
    """Stable name for programs, such as ``unknown_item``."""

    message: str
    """What happened, with the value."""

    hint: str
    """What to do next; empty if the message suffices."""

    request_id: str
    """Id of the request in the log and in the header ``x-request-id``."""


class ErrorOut(TypedDict):
    """Every error of the API."""

    error: ErrorDetailOut
    """What went wrong."""


def encode(body: object, kind: type) -> bytes:
    """A body of a declared type as JSON; numbers that are not finite become null."""
    return _adapt(kind).dump_json(body, by_alias=True)


@cache
def _adapt(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


_SCHEMAS = "#/components/schemas/{model}"


def declare_body(body: type) -> dict[str, Any]:
    """A body in the description of a response.

    It refers to the schema, which ``build_schemas`` builds for the document alone. FastAPI would
    build one for each route whenever a service starts.
    """
    return {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=body.__name__)}}}


def build_schemas(bodies: Iterable[type]) -> dict[str, Any]:
    """Schemas of bodies and of the types in them: name -> schema."""
    kind: Literal["serialization"] = "serialization"
    _, document = TypeAdapter.json_schemas(
        [(body, kind, _adapt(body)) for body in bodies],
        ref_template=_SCHEMAS,
        schema_generator=_BodySchemas,
    )
    return cast(dict[str, Any], document["$defs"])


class _BodySchemas(GenerateJsonSchema):
    """Schemas of what is sent: no field has a default, and its meaning is that of the docstring."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        return field.get("required", total) and "serialization_exclude_if" not in field

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        body = super().dataclass_schema(schema)
        body["description"], meanings = read_docstring(schema["cls"])
        for one in schema["schema"]["fields"]:
            name = one.get("serialization_alias", one["name"])
            if name in body["properties"]:
                body["properties"][name]["description"] = meanings[one["name"]]
        return body


_ERROR = declare_body(ErrorOut)

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"content": _ERROR, "description": description}
    for status, description in {
        401: "The key is missing, or it is not accepted.",
        403: "The host, the origin, or the scope of the key does not allow it.",
        404: "The item or route is unknown.",
        405: "The route has other methods.",
        413: "The body is too large.",
        422: "A parameter or the body is wrong.",
        429: "Too many requests, of the address or of all; Retry-After says when to try again.",
        500: "The service failed; the log has the cause under the request id.",
        503: "The service is loading or cannot store now; Retry-After says when to try again.",
        507: "The disk is full; nothing was stored.",
    }.items()
} | {"default": {"content": _ERROR, "description": "Any other error."}}
"""Error responses of every route."""
