"""The page at ``/``: routes that answer with HTML.

Everything is rendered on the server and works as plain links and forms; HTMX and one script make
it smoother. Text of the catalogue is escaped by the templates and can never become markup.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from serendip.data import Event
from serendip.data.api_key import ADMIN
from serendip.engine.item_pictures import Picture
from serendip.errors import SerendipError
from serendip.serve.access import Access, declare
from serendip.serve.api.routes import get_item
from serendip.serve.api.strict_route import StrictRoute
from serendip.serve.gate import EngineGate
from serendip.serve.middleware import HTML_TYPE, ErrorResponse, content_security_policy
from serendip.serve.page import views, visitors
from serendip.serve.page.assets import environment, item_link, static_file
from serendip.serve.page.params import PageQuery, form_fields, form_query, page_query

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

REPORT_PATH = "/report"
# Of the report, which has its styles inside and nothing else.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

# Of the documentation of the API, whose styles hold small pictures.
_DOCS_POLICY = content_security_policy() + "; img-src 'self' data:"

_PAGE = declare(visitors=True)
_NOT_STORED = {"cache-control": "no-store", "vary": "hx-request"}
_PICTURES_STORED = "private, max-age=600"

View = Callable[["Engine", PageQuery], dict[str, Any]]


class Pages:
    """The pages, served through the gate."""

    def __init__(self, gate: EngineGate, access: Access) -> None:
        self._gate, self._access = gate, access
        self._templates = environment()
        self.router = APIRouter(route_class=StrictRoute, include_in_schema=False)
        for path, method, endpoint, callers in (
            ("/", "GET", self.feed, _PAGE),
            ("/search", "GET", self.search, _PAGE),
            ("/why", "GET", self.why, _PAGE),
            ("/more", "GET", self.more, _PAGE),
            ("/items/{item_id:path}", "GET", self.item, _PAGE),
            ("/sign-in", "GET", self.show_sign_in, _PAGE),
            ("/like", "POST", self.like, _PAGE),
            ("/sign-in", "POST", self.sign_in, _PAGE),
            ("/sign-out", "POST", self.sign_out, _PAGE),
            ("/office", "GET", self.office, declare(ADMIN)),
            (REPORT_PATH, "GET", self.report, declare(ADMIN)),
            ("/docs", "GET", self.docs, declare()),  # as /openapi.json, which it shows
            ("/static/{name:path}", "GET", self.static, declare()),
            ("/media/items/{item_id:path}", "GET", self.picture, declare()),
        ):
            self.router.add_api_route(
                *(path, endpoint),
                methods=[method],
                response_model=None,
                openapi_extra=callers,
            )

    async def feed(self, request: Request) -> Response:
        """The feed of a visitor, who gets an id; with a text or filters a search."""
        query = page_query(request)
        if query.q.strip() or query.filter:
            return _redirect(query.link(q=query.q.strip()))
        name = "_feed.html" if _is_fragment(request) else "feed.html"
        return await self._page(request, name, views.feed, query)

    async def search(self, request: Request) -> Response:
        """Search results."""
        return await self._page(request, "search.html", views.search, page_query(request))

    async def more(self, request: Request) -> Response:
        """The next part of a feed or of search results."""
        name = "_more.html" if _is_fragment(request) else "more.html"
        return await self._page(request, name, views.more, page_query(request))

    async def item(self, request: Request) -> Response:
        """One item with its similar items."""
        return await self._page(request, "item.html", views.item, page_query(request))

    async def why(self, request: Request) -> Response:
        """Why an item is shown, as a panel or as a page."""
        name = "_why.html" if _is_fragment(request) else "why.html"
        return await self._page(request, name, views.why, page_query(request))

    async def like(self, request: Request) -> Response:
        """Store a like; it counts from the next request on."""
        query = await form_query(request)
        visit = visitors.find_visit(request, query)
        visit.require_own()
        query = query.model_copy(update={"user": visit.own_id})
        with self._gate.holder.lease() as engine:
            item = get_item(engine, query.item_id)
        if likes := request.app.state.access.admit_events(request, [_like(query)]):
            await self._gate.write_events(likes)
        if _is_fragment(request):
            body = self._templates.get_template("_liked.html").render(item=item)
            headers = {"hx-trigger": "history-changed"}
            response = Response(body, media_type=HTML_TYPE, headers=headers)
        else:
            response = _redirect(item_link(query.item_id, query.user))
        visitors.remember(self._access, request, response, visit)
        return response

    async def show_sign_in(self, request: Request) -> Response:
        """The form for a key; without keys there is nothing to sign in to."""
        return _redirect("/") if self._access.is_open else self._sign_in_page()

    async def sign_in(self, request: Request) -> Response:
        """Sign a browser in with a key."""
        response = _redirect("/")
        if self._access.is_open:
            return response
        try:
            key = (await form_fields(request)).get("key", "")
            visitors.sign_in(self._access, request, response, key)
        except SerendipError as error:
            return self._sign_in_page(ErrorResponse.of(error))
        return response

    async def sign_out(self, request: Request) -> Response:
        """Sign out: all browsers that signed in with the same key."""
        response = _redirect("/")
        await visitors.sign_out(self._access, request, response)
        return response

    async def docs(self, request: Request) -> Response:
        """The HTTP API, to read and to try."""
        body = self._templates.get_template("docs.html").render()
        headers = _NOT_STORED | {"content-security-policy": _DOCS_POLICY}
        return Response(body, media_type=HTML_TYPE, headers=headers)

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        missing = ErrorResponse(404, "unknown_route", "there is no such file here.")
        return static_file(request.path_params["name"]) or error_page(missing)

    async def picture(self, request: Request) -> Response:
        """The picture file of an item."""
        item_id = page_query(request).item_id

        def load(engine: Engine) -> Picture | None:
            item = engine.item(item_id)
            return engine.pictures.read(item) if item else None

        picture = await self._gate.read(load, of_file=True)
        if picture is None:
            message = f"there is no picture of {item_id[:80]!r} here."
            return error_page(ErrorResponse(404, "no_picture", message))
        headers = {"cache-control": _PICTURES_STORED, "etag": f'"{picture.version}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(picture.body, media_type=picture.media_type, headers=headers)

    async def office(self, request: Request) -> Response:
        """What people did with answers, for those who run a shop."""
        query = page_query(request)
        return await self._page(request, "office.html", views.office, query, of_file=True)

    async def report(self, request: Request) -> Response:
        """The report on the quality of the engine."""
        body = await self._gate.read(
            lambda engine: engine.report.read_bytes() if engine.report.is_file() else None,
            of_file=True,
        )
        if body is None:
            hint = "`serendip evaluate` makes it."
            return error_page(ErrorResponse(404, "no_report", "there is no report yet.", hint))
        headers = {**_NOT_STORED, "content-security-policy": _REPORT_POLICY}
        return Response(body, media_type=HTML_TYPE, headers=headers)

    async def _page(
        self, request: Request, name: str, view: View, query: PageQuery, of_file: bool = False
    ) -> Response:
        template = self._templates.get_template(name)
        visit = visitors.find_visit(request, query)
        query = query.model_copy(update={"user": visit.user_id})

        def render(engine: Engine) -> Response:
            frame = {"engine": engine, "visit": visit, "query": query, "user": query.user}
            shown: dict[str, Any] = frame | view(engine, query)
            if address := shown.get("redirect", ""):
                return self._send(address)
            body = template.render(shown)
            headers = {
                **_NOT_STORED,
                "x-generation": engine.generation,
                "content-security-policy": content_security_policy(engine.pictures.hosts),
            }
            return Response(body, media_type=HTML_TYPE, headers=headers)

        response = await self._gate.read(render, of_file)
        visitors.remember(self._access, request, response, visit)
        return response

    def _send(self, address: str) -> Response:
        """Send a browser where a rule sends a search."""
        address = quote(address, safe="/:?#[]@!$&'()*+,;=%")
        if address.startswith("/"):
            return _redirect(address)
        # Not by a redirect: the policy of the page lets none of its forms lead anywhere else.
        body = self._templates.get_template("redirect.html").render(address=address, user="")
        headers = {**_NOT_STORED, "refresh": f"0; url={address}"}
        return Response(body, media_type=HTML_TYPE, headers=headers)

    def _sign_in_page(self, failure: ErrorResponse | None = None) -> Response:
        body = self._templates.get_template("sign_in.html").render(failure=failure, user="")
        status, headers = (failure.status, dict(failure.headers)) if failure else (200, {})
        return Response(body, status, headers | _NOT_STORED, media_type=HTML_TYPE)


def error_page(failure: ErrorResponse) -> Response:
    """The page that tells an error."""
    body = environment().get_template("error.html").render(failure=failure, user="")
    headers = dict(failure.headers) | _NOT_STORED
    return Response(body, failure.status, media_type=HTML_TYPE, headers=headers)


def _is_fragment(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _redirect(address: str) -> Response:
    return Response(status_code=303, headers={"location": address})


def _like(query: PageQuery) -> Event:
    place = query.model_dump(include={"request_id", "position", "surface", "propensity"})
    return Event(query.user, query.item_id, time.time(), "like", query=query.q, **place)
