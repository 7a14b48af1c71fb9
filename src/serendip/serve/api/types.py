"""Field types of the request models with their limits, and the messages for invalid values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ModelWrapValidatorHandler,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from serendip.data.limits import (
    LATEST,
    MAX_ATTRIBUTE_VALUES,
    MAX_ATTRIBUTES,
    MAX_ID_BYTES,
    MAX_QUERY_CHARS,
    MAX_TEXT_CHARS,
)
from serendip.errors import DataError
from serendip.serve import limits

ValueT = TypeVar("ValueT")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"-?[0-9]{1,18}((?:\.[0-9]{1,24})?(?:[eE][-+]?[0-9]{1,3})?)")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# Ends of paths inside of which all names are those of the sender, or of a row.
_NAMED_INSIDE = ("]", "attributes")
# The meaning of a field in the docstring of its class.
_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


def _check_storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("it holds a NUL character")
    return value


def _check_id(value: str) -> str:
    if len(value) <= MAX_ID_BYTES and value.isascii() and value.isprintable():
        return value  # as nearly all are; a batch has hundreds
    size = len(_check_storable(value).encode("utf-8"))
    if size > MAX_ID_BYTES:
        raise ValueError(f"it has {size} bytes; an id has at most {MAX_ID_BYTES}")
    if _CONTROL.search(value):
        raise ValueError("it holds a control character; an id is one line of text")
    return value


def _read_number(value: Any) -> Any:
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(value) if match[1] else int(value)
    return value


def _parse_flag(value: Any) -> Any:
    if isinstance(value, str) and value not in _FLAGS:
        raise ValueError("it is neither true nor false")
    return _FLAGS[value] if isinstance(value, str) else value


def _to_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _split_names(value: Any) -> Any:
    """Names that are written in one text, `price,image`, as a list."""
    listed = _to_list(value)
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        return listed
    return [name for text in listed for one in text.split(",") if (name := one.strip())]


def _parse_moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("a time is a number of Unix seconds, or ISO 8601") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_time(value: float) -> float:
    if not 0 <= value <= LATEST:
        raise ValueError("a time is in Unix seconds, between the years 1970 and 9999")
    return value


OptionalId = Annotated[str, AfterValidator(_check_id)]
Id = Annotated[str, Field(min_length=1), AfterValidator(_check_id)]
Text = Annotated[str, Field(max_length=MAX_QUERY_CHARS), AfterValidator(_check_storable)]
LongText = Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_check_storable)]
LanguageTag = Annotated[str, Field(pattern=r"^([A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*)?$")]
Cursor = Annotated[str, Field(max_length=limits.MAX_CURSOR_CHARS), AfterValidator(_check_storable)]
# Makes a number one of a parameter, whose text stands in a query: ``Annotated[float, FromText]``.
# Bounds stand before it, or ``/openapi.json`` would not show them.
FromText = BeforeValidator(_read_number)
Count = Annotated[int, Field(ge=1, le=limits.MAX_K), FromText]
Flag = Annotated[bool, BeforeValidator(_parse_flag)]
Time = Annotated[
    float,
    BeforeValidator(_parse_moment, json_schema_input_type=float | datetime),
    AfterValidator(_check_time),
]

_Lax = Strict(False)  # of a tuple: it is a list in JSON
Ids = Annotated[
    tuple[Id, ...], _Lax, Field(max_length=limits.MAX_SOURCE_ITEMS), BeforeValidator(_to_list)
]
BatchIds = Annotated[tuple[Id, ...], _Lax, Field(max_length=limits.MAX_K)]
Filters = Annotated[
    tuple[Text, ...], _Lax, Field(max_length=limits.MAX_FILTERS), BeforeValidator(_to_list)
]
FacetNames = Annotated[
    tuple[Id, ...], _Lax, Field(max_length=limits.MAX_FACETS), BeforeValidator(_to_list)
]
FieldNames = Annotated[
    tuple[Id, ...], _Lax, Field(max_length=limits.MAX_FIELDS), BeforeValidator(_split_names)
]
# Only the first error is told: to collect those of megabytes would hold up all others.
Texts = Annotated[
    tuple[LongText, ...], _Lax, Field(max_length=MAX_ATTRIBUTE_VALUES, fail_fast=True)
]
Attribute = FiniteFloat | LongText | Texts
Attributes = Annotated[dict[Id, Attribute], Field(max_length=MAX_ATTRIBUTES)]
AttributeChanges = Annotated[dict[Id, Attribute | None], Field(max_length=MAX_ATTRIBUTES)]


def read_docstring(record: type[Any]) -> tuple[str, dict[str, str]]:
    """What a dataclass is, and the meanings of its fields, from the ``Args`` of its docstring and
    of those that it inherits from.
    """
    text, meanings = "", dict[str, str]()
    for kind in reversed(record.__mro__):
        text, _, arguments = (inspect.getdoc(kind) or "").partition("\n\nArgs:\n")
        for name, words in _ARGUMENT.findall(arguments):
            meaning = " ".join(words.split())
            meanings[name] = meaning[:1].upper() + meaning[1:]
    return text, meanings


class RowModel(BaseModel):
    """Base of the rows of a body: strict types, unknown names are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class RequestModel(RowModel):
    """Base of parameters and bodies; its validation errors carry a ``DataError``.

    ``read`` and ``StrictRoute`` raise that one.
    """

    row: ClassVar[type[RowModel] | None] = None
    """Of a body that has rows: their model."""

    @model_validator(mode="wrap")
    @classmethod
    def _raise_data_error(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, Mapping):
            raise DataError("the body is not an object.", f"Known names: {_list_names(cls)}.")
        try:
            return validate(values)
        except ValidationError as error:
            raise _to_data_error(error, cls) from None


def read(adapter: TypeAdapter[ValueT], value: Any) -> ValueT:
    """Validate a value whose type has a request model in it.

    Raises:
        DataError: the first unknown name or invalid value.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        told: DataError = error.errors(include_url=False)[0]["ctx"]["error"]
        raise told from None


def _to_data_error(error: ValidationError, model: type[RequestModel]) -> DataError:
    first = error.errors(include_url=False)[0]
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not path or path.endswith(_NAMED_INSIDE):
            path += f".{part}" if path else part
    path = path[:80]
    inner = model.row if model.row and len(first["loc"]) > 1 else model
    if first["type"] == "extra_forbidden":
        return DataError(f"{path} is not known here.", f"Known names: {_list_names(inner)}.")
    if first["type"] == "missing":
        return DataError(f"{path} is missing.", f"Known names: {_list_names(inner)}.")
    value, message = repr(first["input"]), first["msg"].removeprefix("Value error, ")
    return DataError(f"{path} = {value if len(value) <= 60 else value[:57] + '...'}: {message}.")


def _list_names(model: type[RowModel]) -> str:
    return ", ".join(field.alias or name for name, field in model.model_fields.items())
