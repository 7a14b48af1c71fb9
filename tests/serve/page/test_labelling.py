"""The labelling page at the level of the wire: guarded as the service is, strict about forms."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from serendip.data.labelling import AgreementSoFar, LabellingView, PairToLabel
from serendip.errors import ConfigError, DataError, StorageError
from serendip.serve.page.labelling import build_labelling_app, run_labelling


class ListDesk:
    """A desk in memory that tells what was done to it."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.asked: PairToLabel | None = PairToLabel(0, "<i>shoes</i>", "A & B", "", {"<b>": "'\""})
        self.error: Exception | None = None

    def view(self) -> LabellingView:
        agreed = [AgreementSoFar("BEN", 4, 0.5, 0.1, 0.9), AgreementSoFar("CLEO", 0)]
        return LabellingView("ANN", self.asked, 6, 1, 2, 1, "bad", agreed)

    def label(self, place: int, label: str) -> None:
        self._do("label", place, label)

    def skip(self, place: int) -> None:
        self._do("skip", place)

    def undo(self) -> None:
        self._do("undo")

    def _do(self, *what: Any) -> None:
        if self.error is not None:
            raise self.error
        self.done.append(what)


def ask(desk: ListDesk, method: str, path: str, **options: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(build_labelling_app(desk))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


def test_the_page_shows_the_pair_and_how_far_things_are() -> None:
    shown = ask(ListDesk(), "GET", "/")
    assert shown.status_code == 200
    assert "3 of 6 labelled" in shown.text
    assert "1 good · 2 bad · 1 put off" in shown.text
    assert "kappa 0.50" in shown.text
    assert "0 pairs in common: too early to say" in shown.text
    assert "&lt;i&gt;shoes&lt;/i&gt;" in shown.text
    assert "A &amp; B" in shown.text
    assert "<b>" not in shown.text
    assert shown.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in shown.headers["content-security-policy"]


def test_the_end_is_told() -> None:
    desk = ListDesk()
    desk.asked = None
    shown = ask(desk, "GET", "/").text
    assert "All pairs are labelled" in shown
    assert 'action="/label"' not in shown


def test_forms_do_what_they_say_and_lead_to_the_next() -> None:
    desk = ListDesk()
    forms = [("/label", {"place": "3", "label": "bad"}), ("/skip", {"place": "4"}), ("/undo", {})]
    for path, form in forms:
        answer = ask(desk, "POST", path, data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert desk.done == [("label", 3, "bad"), ("skip", 4), ("undo",)]


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"host": "evil.example"}, {"origin": "null"}]
)
@pytest.mark.parametrize("path", ["/label", "/skip", "/undo"])
def test_pages_of_others_change_nothing(path: str, headers: dict[str, str]) -> None:
    desk = ListDesk()
    form = {"place": "0", "label": "good"}
    assert ask(desk, "POST", path, data=form, headers=headers).status_code == 403
    assert desk.done == []


@pytest.mark.parametrize("place", ["", "-1", "1.0", "x", "²", "9" * 40, "<script>"])
def test_odd_places_are_refused(place: str) -> None:
    desk = ListDesk()
    answer = ask(desk, "POST", "/label", data={"place": place, "label": "good"})
    assert (answer.status_code, desk.done) == (422, [])
    assert "<script>&" not in answer.text
    assert "This was not taken" in answer.text
    many = ask(desk, "POST", "/label", data={f"f{n}": "1" for n in range(20)})
    assert many.status_code == 422


@pytest.mark.parametrize("error", [StorageError("the disk is full.", "Make room."), DataError("x")])
def test_what_could_not_be_written_is_said(error: Any) -> None:
    desk = ListDesk()
    desk.error = error
    answer = ask(desk, "POST", "/label", data={"place": "0", "label": "good"})
    assert answer.status_code == error.status
    assert error.message in answer.text


def test_files_of_the_page_are_there_and_no_others() -> None:
    for name, kind in (("label.js", "text/javascript"), ("page.css", "text/css")):
        found = ask(ListDesk(), "GET", f"/static/{name}")
        assert (found.status_code, found.headers["content-type"].split(";")[0]) == (200, kind)
    for name in ("../labelling.py", "none.js", "..%2f..%2fapp.py"):
        assert ask(ListDesk(), "GET", f"/static/{name}").status_code == 404
    for path in ("/docs", "/openapi.json", "/v1/items"):
        assert ask(ListDesk(), "GET", path).status_code == 404


def test_a_port_that_is_taken_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        run_labelling(ListDesk(), 70_000, lambda address: None)
