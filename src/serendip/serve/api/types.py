"""Field types of the request models with their limits, and the messages for invalid values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from serendip.data.limits import (
    LATEST,
    MAX_ATTRIBUTE_VALUES,
    MAX_ID_BYTES,
    MAX_QUERY_CHARS,
    MAX_TEXT_CHARS,
)
from serendip.errors import DataError
from serendip.serve import limits
from serendip.serve.api.strict_json import check_text

ModelT = TypeVar("ModelT", bound="RequestModel")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_NAMED_INSIDE = ("]", ".attributes")


def _check_storable(value: str) -> str:
    try:
        return check_text(value, "it")
    except DataError as error:
        raise ValueError(error.message) from None


def _check_id(value: str) -> str:
    if len(value) <= MAX_ID_BYTES and value.isascii() and value.isprintable():
        return value  # as nearly all are; a batch has hundreds
    size = len(_check_storable(value).encode("utf-8"))
    if size > MAX_ID_BYTES:
        raise ValueError(f"it has {size} bytes; an id has at most {MAX_ID_BYTES}")
    if _CONTROL.search(value):
        raise ValueError("it holds a control character; an id is one line of text")
    return value


def _parse_int(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError("it is not a whole number")
    return int(value) if isinstance(value, str) else value


def _parse_number(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[0-9.]{1,30}(e-[0-9]{1,3})?", value):
        raise ValueError("it is not a number")
    return float(value) if isinstance(value, str) else value


def _parse_flag(value: Any) -> Any:
    if isinstance(value, str) and value not in _FLAGS:
        raise ValueError("it is neither true nor false")
    return _FLAGS[value] if isinstance(value, str) else value


def _to_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


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


def _check_finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("it is not a finite number")
    return value


OptionalId = Annotated[str, AfterValidator(_check_id)]
Id = Annotated[str, Field(min_length=1), AfterValidator(_check_id)]
Text = Annotated[str, Field(max_length=MAX_QUERY_CHARS), AfterValidator(_check_storable)]
LongText = Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_check_storable)]
LanguageTag = Annotated[str, Field(pattern=r"^([A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*)?$")]
Cursor = Annotated[str, Field(max_length=limits.MAX_CURSOR_CHARS), AfterValidator(_check_storable)]
Count = Annotated[int, Field(ge=1, le=limits.MAX_K), BeforeValidator(_parse_int)]
Flag = Annotated[bool, BeforeValidator(_parse_flag)]
Position = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(_parse_int)]
Ids = Annotated[list[Id], Field(max_length=limits.MAX_SOURCE_ITEMS), BeforeValidator(_to_list)]
Filters = Annotated[list[Text], Field(max_length=limits.MAX_FILTERS), BeforeValidator(_to_list)]
FacetNames = Annotated[list[Id], Field(max_length=limits.MAX_FACETS), BeforeValidator(_to_list)]
Number = Annotated[float, AfterValidator(_check_finite)]
Propensity = Annotated[float, Field(gt=0, le=1)]
FormPropensity = Annotated[Propensity, BeforeValidator(_parse_number)]
Time = Annotated[
    float,
    BeforeValidator(_parse_moment, json_schema_input_type=float | datetime),
    AfterValidator(_check_time),
]
Attribute = Number | LongText | Annotated[list[LongText], Field(max_length=MAX_ATTRIBUTE_VALUES)]


class RowModel(BaseModel):
    """Base of the rows of a body: strict types, unknown names are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class RequestModel(RowModel):
    """Base of parameters and bodies; its validation errors carry a ``DataError``.

    ``read`` and ``StrictRoute`` raise that one.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _raise_data_error(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, Mapping):
            raise DataError("the body is not an object.", f"Known names: {_list_names(cls)}.")
        try:
            return validate(values)
        except ValidationError as error:
            raise to_data_error(error, cls) from None


def read(model: type[ModelT], values: Any) -> ModelT:
    """Validate values as a model.

    Raises:
        DataError: the first unknown name or invalid value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise extract_data_error(error.errors(include_url=False)) from None


def extract_data_error(errors: Sequence[Any]) -> DataError:
    """Unwrap the ``DataError`` of a request model from pydantic's list of errors."""
    error: DataError = errors[0]["ctx"]["error"]
    return error


def to_data_error(error: ValidationError, model: type[BaseModel], rows: str = "") -> DataError:
    """Describe the first problem of a validation error: its path, its value, the known names."""
    first = error.errors(include_url=False)[0]
    path = rows
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in model.model_fields or path in ("", rows) or path.endswith(_NAMED_INSIDE):
            path += f".{part}" if path else str(part)
    path = path[:80] or "the body"
    if first["type"] == "extra_forbidden":
        return DataError(f"{path} is not known here.", f"Known names: {_list_names(model)}.")
    if first["type"] == "missing":
        return DataError(f"{path} is missing.", f"Known names: {_list_names(model)}.")
    message = first["msg"].removeprefix("Value error, ")
    return DataError(
        f"{path} = {_format_value(first['input'])}: {message}.",
        _describe_range(model, first["loc"]),
    )


def _describe_range(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """Describe the limits of a count; empty for other fields."""
    name = str(path[0]) if len(path) == 1 else ""
    rules = model.model_fields[name].metadata if name in model.model_fields else []
    low = next((rule.ge for rule in rules if hasattr(rule, "ge")), None)
    high = next((rule.le for rule in rules if hasattr(rule, "le")), None)
    return "" if low is None or high is None else f"{name} is {low} to {high}."


def _list_names(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _format_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
