"""Parameters of the page: lenient about names, as links pick up extra ones, strict about values."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from pydantic import Field, TypeAdapter
from starlette.requests import Request

from serendip.data.items.attribute_test import AttributeTest
from serendip.data.limits import MAX_POSITION
from serendip.data.privacy import VISITOR
from serendip.errors import DataError
from serendip.serve.api import types

_MAX_FIELDS = 20
_SEARCH = ("q", "user", "literal", "filter", "sort")  # that all links of a search carry
_Position = Annotated[int, Field(ge=0, le=MAX_POSITION), types.FromText]


class PageQuery(types.RequestModel):
    """Everything that a link or form of the page may carry."""

    user: types.OptionalId = ""  # empty for a new visitor
    q: types.Text = ""
    literal: types.Flag = False
    cursor: types.Cursor = ""
    first: _Position = 0  # 0-based place of the first item of the next part
    item_id: types.OptionalId = ""  # that is explained or liked
    surface: types.Id = "home"  # where it was shown
    source: types.OptionalId = ""  # the item beside which it was shown
    request_id: types.OptionalId = ""  # the answer it was part of
    position: _Position | None = None  # 0-based place in that answer
    propensity: Annotated[float, Field(gt=0, le=1), types.FromText] | None = None  # of that place
    filter: types.Filters = Field(default=())
    sort: types.OptionalId = ""  # an attribute of numbers, ``-price`` from the largest
    days: types.Count = 7  # that figures are of
    language: str = ""  # the header ``Accept-Language`` of the visitor

    def fields(self, **changes: Any) -> list[tuple[str, str]]:
        """Fields of a form or link that asks for this search, with changes or further parameters;
        empty ones are left out.
        """
        kept = {name: getattr(self, name) for name in _SEARCH} | changes
        return [
            (name, "1" if one is True else str(one))
            for name, value in kept.items()
            for one in (value if isinstance(value, tuple) else (value,))
            if one
        ]

    def link(self, path: str = "/search", **changes: Any) -> str:
        """Link to a page with the fields of this search."""
        return f"{path}?{urlencode(self.fields(**changes))}"

    def toggle(self, filter_text: str) -> str:
        """Link to the search with a filter, or without it if it is there."""
        others = tuple(one for one in self.filter if one != filter_text)
        is_there = len(others) < len(self.filter)
        return self.link(filter=others if is_there else (*others, filter_text))

    @property
    def value_tests(self) -> list[AttributeTest]:
        """Its tests for values of which an item must have one."""
        tests = map(AttributeTest.parse, self.filter)
        return [test for test in tests if test.sign == "="]

    @property
    def category(self) -> str:
        """What a search without a text is of, by the words that it filters by; empty without."""
        return ", ".join(" or ".join(test.values) for test in self.value_tests if test.has_words)


_ADAPTER = TypeAdapter(PageQuery)


def page_query(request: Request) -> PageQuery:
    """The parameters of a page; an empty field of a form is none.

    Raises:
        DataError: a known one has a wrong value.
    """
    filters = [one for one in request.query_params.getlist("filter") if one.strip()]
    query = _read({**request.query_params, **request.path_params, "filter": filters})
    return query.model_copy(update={"language": request.headers.get("accept-language", "")})


async def form_query(request: Request) -> PageQuery:
    """The fields of a posted form.

    Raises:
        DataError: a known one has a wrong value, or there are too many.
    """
    return _read(await form_fields(request))


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a posted form as they are.

    Raises:
        DataError: there are too many.
    """
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise DataError(f"the form has more than {_MAX_FIELDS} fields.") from None


def visitor_id() -> str:
    """An id for somebody who has none yet."""
    return f"{VISITOR}{secrets.token_hex(8)}"


def _read(values: dict[str, Any]) -> PageQuery:
    known = PageQuery.model_fields
    return types.read(_ADAPTER, {k: v for k, v in values.items() if k in known and v != ""})
