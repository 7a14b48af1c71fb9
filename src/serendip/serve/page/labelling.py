"""The labelling page: one person labels pairs of query and item, one at a time.

It is a service without an engine: plain forms, a small script for the keyboard, templates that
escape every text. A label is on the disk before the next pair is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl

import uvicorn
from fastapi import FastAPI, Request, Response

from serendip.data.labelling import LabellingView
from serendip.errors import DataError, SerendipError
from serendip.serve.middleware import HTML_TYPE, App, ErrorResponse, GuardMiddleware
from serendip.serve.page.assets import environment, static_file
from serendip.serve.socket import format_address, ignore_repeated_signals, listen


class LabellingProtocol(Protocol):
    """Pairs for one person to label, one at a time. Thread-safe."""

    def view(self) -> LabellingView:
        """The pair to label now, and the progress."""
        ...

    def label(self, place: int, label: str) -> None:
        """Store a label durably; does nothing if the pair already has one.

        Raises:
            DataError: there is no such pair or label.
            StorageError: it cannot be written.
        """
        ...

    def skip(self, place: int) -> None:
        """Postpone a pair until the others are labelled.

        Raises:
            DataError: there is no such pair.
        """
        ...

    def undo(self) -> None:
        """Take the last label, or the last skip after it, back; the pair is asked next.

        Raises:
            StorageError: the label cannot be taken out.
        """
        ...


HOST = "127.0.0.1"
_DRAIN_S = 10
_MOST_FIELDS = 5
_NOT_STORED = {"cache-control": "no-store"}


class LabellingPage:
    """The page over one desk."""

    def __init__(self, desk: LabellingProtocol) -> None:
        self._desk, self._templates = desk, environment()
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        for path, method, endpoint in (
            ("/", "GET", self.show),
            ("/label", "POST", self.label),
            ("/skip", "POST", self.skip),
            ("/undo", "POST", self.undo),
            ("/static/{name:path}", "GET", self.static),
        ):
            self.app.add_api_route(path, endpoint, methods=[method], response_model=None)
        self.app.add_exception_handler(SerendipError, self._failed)

    async def show(self) -> Response:
        """The next pair, and the progress."""
        view = await asyncio.to_thread(self._desk.view)
        body = self._templates.get_template("label.html").render(view=view)
        return Response(body, media_type=HTML_TYPE, headers=_NOT_STORED)

    async def label(self, request: Request) -> Response:
        """Store a label; answers once it is on the disk."""
        form = await _form(request)
        await asyncio.to_thread(self._desk.label, _place(form), form.get("label", ""))
        return _to_the_next()

    async def skip(self, request: Request) -> Response:
        """Postpone a pair."""
        await asyncio.to_thread(self._desk.skip, _place(await _form(request)))
        return _to_the_next()

    async def undo(self) -> Response:
        """Take the last label or skip back."""
        await asyncio.to_thread(self._desk.undo)
        return _to_the_next()

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        return static_file(request.path_params["name"]) or Response(status_code=404)

    async def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, SerendipError)
        failure = ErrorResponse.of(error)
        body = self._templates.get_template("label_error.html").render(failure=failure)
        return Response(body, failure.status, media_type=HTML_TYPE, headers=_NOT_STORED)


def build_labelling_app(desk: LabellingProtocol) -> App:
    """The page behind the door."""
    return GuardMiddleware(LabellingPage(desk).app)


def run_labelling(desk: LabellingProtocol, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the page on this machine until SIGTERM or SIGINT.

    Args:
        desk: what is labelled.
        port: 0 for any free one.
        on_ready: told the address as soon as it can be opened.

    Raises:
        ConfigError: the port is taken.
    """
    listener = listen(HOST, port)
    config = uvicorn.Config(
        build_labelling_app(desk),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_DRAIN_S,
    )
    on_ready(format_address(listener, HOST))
    try:
        with ignore_repeated_signals():
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise DataError(f"the form has more than {_MOST_FIELDS} fields.") from None


def _place(form: dict[str, str]) -> int:
    place = form.get("place", "")
    if not (place.isascii() and place.isdigit() and len(place) < 10):
        raise DataError(f"place = {place[:40]!r}: it is not a whole number.")
    return int(place)


def _to_the_next() -> Response:
    return Response(status_code=303, headers={"location": "/"})
