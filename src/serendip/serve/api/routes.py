"""The routes of the HTTP API; their types are in ``requests`` and ``responses``.

Read endpoints take the same names as parameters of a GET and in the JSON body of a POST.

The types document every response in ``/openapi.json``, but FastAPI neither validates nor encodes
them: what an endpoint returns is encoded as the type that its route declares.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import PlainTextResponse

from serendip.data import Item
from serendip.data.api_key import ADMIN, READ, READ_USERS, WRITE
from serendip.data.items.attribute_test import AttributeTest
from serendip.data.rules import Rule
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import ErasureReceipt
from serendip.engine.fallback import FALLBACKS
from serendip.engine.figures import Figures
from serendip.engine.listing import DESCENDING
from serendip.engine.request import Answer, Explanation, Suggestions
from serendip.engine.request import Request as EngineRequest
from serendip.errors import DataError, UnknownItemError
from serendip.serve.access import declare, get_caller
from serendip.serve.api import responses, types
from serendip.serve.api.requests import (
    EventRows,
    ExplainParams,
    FiguresParams,
    ItemIds,
    ItemPatch,
    ItemRows,
    ItemsParams,
    Login,
    PreviewParams,
    ReadParams,
    RecommendParams,
    RuleIn,
    SearchParams,
    SimilarParams,
    SuggestParams,
    UserIds,
    UserIn,
    UserPatch,
    UserRows,
    UsersParams,
)
from serendip.serve.api.strict_route import StrictRoute
from serendip.serve.gate import EngineGate
from serendip.serve.metrics import ServiceMetrics
from serendip.serve.middleware import JSON_TYPE

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

Endpoint = Callable[..., Awaitable[object]]  # of the body of the response


class Routes:
    """The routes of the API, served through the gate."""

    def __init__(self, gate: EngineGate, metrics: ServiceMetrics) -> None:
        self._gate, self._metrics = gate, metrics
        self.router = APIRouter(route_class=StrictRoute, responses=responses.ERRORS)
        self.bodies: set[type] = {responses.ErrorOut}
        user, item = "/v1/users/{user_id:path}", "/v1/items/{item_id:path}"
        rule = "/v1/rules/{rule_id:path}"
        reads, of_users = declare(READ), declare(READ_USERS)
        self._add(
            ("GET POST", "/v1/search", self.search, Answer, reads),
            ("GET POST", "/v1/recommend", self.recommend, Answer, reads),
            ("GET POST", "/v1/suggest", self.suggest, Suggestions, declare(READ, visitors=True)),
            ("GET POST", "/v1/explain", self.explain, Explanation, reads),
            ("GET POST", f"{item}/similar", self.similar, Answer, reads),
            ("GET", "/v1/users", self.list_users, responses.UsersOut, of_users),
            ("POST", "/v1/users:get", self.get_users, responses.UserRowsOut, of_users),
            ("GET", f"{user}/history", self.get_history, responses.HistoryOut, of_users),
            ("GET", user, self.get_user, User, of_users),
            ("GET", "/v1/items", self.list_items, responses.ItemListOut, reads),
            ("POST", "/v1/items:get", self.get_items, responses.ItemsOut, reads),
            ("GET", item, self.get_item, responses.ItemOut, reads),
        )
        self._add(("GET", "/v1/figures", self.get_figures, Figures, declare(ADMIN)))
        also_visitors, writes = declare(WRITE, visitors=True), declare(WRITE)
        erases, changes = declare(WRITE, READ_USERS), declare(WRITE, ADMIN)
        self._add(
            ("POST", "/v1/events", self.add_events, responses.StoredOut, also_visitors),
            ("PUT", user, self.put_user, User, writes),
            ("POST", f"{user}:merge", self.merge_user, responses.StoredOut, erases),
            ("PATCH", user, self.change_user, User, erases),
            ("POST", "/v1/users", self.put_users, responses.UserRowsOut, writes),
            ("POST", "/v1/items", self.add_items, responses.StoredItemsOut, writes),
            ("PATCH", item, self.change_item, responses.ItemOut, declare(WRITE, READ)),
            ("DELETE", item, self.delete_item, responses.DeletedOut, writes),
            ("DELETE", user, self.erase_user, ErasureReceipt, erases),
            ("GET", "/v1/rules", self.list_rules, responses.RulesOut, declare(ADMIN)),
            ("PUT", rule, self.put_rule, responses.ChangedRuleOut, changes),
            ("DELETE", rule, self.remove_rule, responses.ChangedRuleOut, changes),
            ("POST", "/v1/rules:preview", self.preview_rules, responses.PreviewOut, declare(ADMIN)),
            ("GET", "/health/live", self.get_liveness, responses.LiveOut, declare()),
            ("GET", "/health/ready", self.get_readiness, responses.ReadyOut, declare()),
        )
        self.router.add_api_route(
            "/metrics",
            self.get_metrics,
            response_class=PlainTextResponse,
            response_description="The answer.",
            operation_id="getMetrics",
            openapi_extra=declare(ADMIN),
        )

    def _add(self, *routes: tuple[str, str, Endpoint, type, dict[str, Any]]) -> None:
        """Add routes: HTTP methods, path, endpoint, type of the answer, and who may call it.

        The ``query`` of an endpoint is the parameters of a GET, or the JSON body of a POST.
        """
        for methods, path, endpoint, answer, access in routes:
            self.bodies.add(answer)
            for method in methods.split():
                self.router.add_api_route(
                    path,
                    _answering(endpoint, answer, Query() if method == "GET" else Body()),
                    methods=[method],
                    response_model=None,
                    response_description="The answer.",
                    responses={200: {"content": responses.declare_body(answer)}},
                    name=endpoint.__name__,
                    description=inspect.getdoc(endpoint),
                    operation_id=_name_operation(endpoint, method, methods),
                    openapi_extra=access,
                )

    async def search(self, query: SearchParams) -> Answer:
        """Items that match the search text, best first."""
        return await self._answer(query.build_request(surface="search"))

    async def recommend(self, query: RecommendParams) -> Answer:
        """Items for a surface, best first."""
        return await self._answer(query.build_request(), query.require_context)

    async def similar(self, item_id: types.Id, query: SimilarParams) -> Answer:
        """Items similar to one item, best first."""
        return await self._answer(query.build_request(surface="similar", item_ids=(item_id,)))

    async def suggest(self, request: Request, query: SuggestParams) -> Suggestions:
        """Suggested queries, best first."""
        caller, wanted = get_caller(request), query.build_request()
        caller.require_sight(query.user_id)

        def call(engine: Engine) -> Suggestions:
            if caller.is_visitor:
                require_public(engine, wanted.filters)
            return engine.suggest(wanted)

        return await self._gate.read(call)

    async def explain(self, query: ExplainParams) -> Explanation:
        """Why an item would be shown, or why not: evidence, features, stages, absence."""
        request = query.build_request()
        return await self._gate.read(lambda engine: engine.explain(request, query.item_id))

    async def get_item(self, item_id: types.Id) -> responses.ItemOut:
        """One item with its semantic ID."""
        return await self._gate.read(
            lambda engine: responses.ItemOut.of(get_item(engine, item_id), engine)
        )

    async def get_items(self, wanted: ItemIds) -> responses.ItemsOut:
        """Several items by their ids."""

        def call(engine: Engine) -> responses.ItemsOut:
            found = {name: engine.item(name) for name in wanted.item_ids}
            items = [responses.ItemOut.of(item, engine) for item in found.values() if item]
            return {"items": items, "unknown": [name for name in found if not found[name]]}

        return await self._gate.read(call)

    async def list_items(self, query: ItemsParams) -> responses.ItemListOut:
        """The catalogue in parts, for those who copy it: nothing twice, nothing left out."""

        def call(engine: Engine) -> responses.ItemListOut:
            items, cursor = engine.list_items(query.cursor, query.limit)
            return {"items": [responses.ItemOut.of(one, engine) for one in items], "cursor": cursor}

        return await self._gate.read(call)

    async def get_figures(self, query: FiguresParams) -> Figures:
        """What people did with answers: searches, clicks, conversions, places."""
        return await self._gate.read(
            lambda engine: engine.figures(query.days, query.limit), of_file=True
        )

    async def list_users(self, query: UsersParams) -> responses.UsersOut:
        """The most active known users."""
        known = await self._gate.read(lambda engine: engine.users(query.limit))
        return {"users": [{"user_id": name, "num_events": count} for name, count in known]}

    async def get_history(self, user_id: types.Id, query: UsersParams) -> responses.HistoryOut:
        """A user's events, newest first; empty for an unknown user."""
        events = await self._gate.read(lambda engine: engine.history(user_id, query.limit))
        return {"user_id": user_id, "events": events}

    async def get_user(self, user_id: types.Id) -> User:
        """The attributes of a user; none for an unknown user."""
        return await self._gate.read(lambda engine: engine.user(user_id))

    async def get_users(self, wanted: UserIds) -> responses.UserRowsOut:
        """The attributes of several users."""
        users = await self._gate.read(lambda engine: [*map(engine.user, wanted.user_ids)])
        return {"users": users}

    async def put_user(self, user_id: types.Id, user: UserIn) -> User:
        """Store the attributes of a user in place of all earlier ones."""
        stored = user.to_user(user_id)
        await self._gate.write(lambda engine: engine.put_users([stored]))
        return stored

    async def put_users(self, users: UserRows) -> responses.UserRowsOut:
        """Store the attributes of one user or several in place of all earlier ones."""
        rows = [User(**dict(row)) for row in users.users]
        await self._gate.write(lambda engine: engine.put_users(rows))
        return {"users": rows}

    async def change_user(self, user_id: types.Id, changes: UserPatch) -> User:
        """Change some attributes of a user; null removes one."""

        def call(engine: Engine) -> User:
            return engine.change_user(user_id, changes.apply)

        return await self._gate.write(call)

    async def merge_user(self, user_id: types.Id, login: Login) -> responses.StoredOut:
        """Let what a visitor did count for the user that they log in as; may be repeated."""
        new = await self._gate.write(lambda engine: engine.merge_user(login.visitor_id, user_id))
        return {"received": new, "new": new}

    async def add_events(self, request: Request, events: EventRows) -> responses.StoredOut:
        """Store one event or several; they are durable before the response."""
        now = time.time()
        rows = [event.to_event(now) for event in events.events]
        counted = request.app.state.access.admit_events(request, rows)
        new = await self._gate.write_events(counted) if counted else 0
        self._metrics.events.inc(len(rows))
        stored = responses.StoredOut(received=len(rows), new=new)
        with self._gate.holder.lease() as engine:
            unknown = engine.unknown_items(row.item_id for row in rows)
        if unknown:
            stored["unknown_items"] = unknown
        return stored

    async def add_items(self, items: ItemRows) -> responses.StoredItemsOut:
        """Store one item or several; they can be found and recommended from the response on.

        Pictures and sounds are encoded soon after it.
        """
        rows = [item.to_item() for item in items.items]

        def call(engine: Engine) -> responses.StoredItemsOut:
            new, left_out = engine.add_items(rows), engine.find_file_problems(rows)
            return {"received": len(rows), "new": new, "left_out": left_out}

        answer = await self._gate.write(call)
        self._metrics.items.inc(len(rows))
        return answer

    async def change_item(self, item_id: types.Id, changes: ItemPatch) -> responses.ItemOut:
        """Change an item, such as its price or stock; what is not named stays."""

        def call(engine: Engine) -> responses.ItemOut:
            item = engine.change_item(item_id, changes.apply)
            if item is None:
                raise unknown_item_error(item_id)
            return responses.ItemOut.of(item, engine)

        answer = await self._gate.write(call)
        self._metrics.items.inc()
        return answer

    async def delete_item(self, item_id: types.Id) -> responses.DeletedOut:
        """Delete an item permanently."""
        if not await self._gate.write(lambda engine: engine.delete_item(item_id)):
            raise unknown_item_error(item_id)
        return {"item_id": item_id, "deleted": True}

    async def erase_user(self, user_id: types.Id) -> ErasureReceipt:
        """Erase a user: events, attributes and all that is known of them, also in other workers.

        Earlier events are not stored again. The answer is a receipt; asking again is another
        erasure, of what came since.
        """
        return await self._gate.write(lambda engine: engine.erase_user(user_id))

    async def list_rules(self) -> responses.RulesOut:
        """The rules of answers."""
        found = await self._gate.read(lambda engine: engine.rules)
        return {"version": found.version, "rules": list(found.by_id.values())}

    async def put_rule(self, rule_id: types.Id, rule: RuleIn) -> responses.ChangedRuleOut:
        """Store a rule in place of the one with its id; it counts from the next request on."""
        return await self._change(rule_id, rule.to_rule(rule_id=rule_id))

    async def remove_rule(self, rule_id: types.Id) -> responses.ChangedRuleOut:
        """Remove a rule; what was in force when stays known."""
        return await self._change(rule_id, None)

    async def _change(self, rule_id: str, rule: Rule | None) -> responses.ChangedRuleOut:
        def call(engine: Engine) -> responses.ChangedRuleOut:
            changed = engine.put_rules([rule]) if rule else engine.put_rules((), [rule_id])
            if not (rule or changed):
                raise DataError(f"there is no rule {rule_id[:80]!r}.", "GET /v1/rules lists them.")
            unknown = engine.unknown_items(rule.items if rule else ())
            version = engine.rules.version
            return {"rule_id": rule_id, "version": version, "unknown_items": unknown}

        return await self._gate.write(call)

    async def preview_rules(self, query: PreviewParams) -> responses.PreviewOut:
        """A list with some rules, and without them; nothing is stored."""
        request, rules = query.build_request(), [row.to_rule() for row in query.rules]

        def call(engine: Engine) -> responses.PreviewOut:
            query.require_context(engine.needs(request.surface))
            with_rules, without = engine.preview(request, rules)
            return {"with_rules": with_rules, "without_rules": without}

        return await self._gate.read(call)

    async def get_liveness(self) -> responses.LiveOut:
        """The process runs."""
        return {"status": "live"}

    async def get_readiness(self) -> responses.ReadyOut:
        """A generation is loaded and answers; waits for no other request.

        A worker whose requests hang is not ready.
        """
        holder = self._gate.holder
        self._gate.require_ready()
        return responses.ReadyOut(
            "ready",
            holder.generation,
            holder.shared.num_ready,
            holder.is_degraded,
            holder.refused_generation,
            holder.storage_problem,
        )

    async def get_metrics(self, request: Request) -> Response:
        """Counters, gauges and latencies in the text format of Prometheus."""
        return Response(self._metrics.text(), media_type=self._metrics.content_type)

    async def _answer(
        self, request: EngineRequest, require: Callable[[str], None] = lambda needs: None
    ) -> Answer:
        """Answer a request that has what its surface needs, from less where that fails."""

        def call(engine: Engine) -> Answer:
            require(engine.needs(request.surface))
            return engine.recommend(request)

        def fall_back(rung: str, engine: Engine) -> Answer:
            return engine.fall_back(request, rung)

        fallbacks = [partial(fall_back, rung) for rung in FALLBACKS]
        started = time.perf_counter()
        answer = await self._gate.read_or(call, fallbacks)
        if answer.experiment:
            arm = self._metrics.arms.labels(answer.experiment, answer.arm, not answer.items)
            arm.observe(time.perf_counter() - started)
        if not answer.items:
            self._metrics.empty.labels(answer.surface).inc()
        if answer.degraded:
            self._metrics.degraded.labels(answer.surface).inc()
        return answer


def _answering(
    endpoint: Endpoint, answer: type, place: object
) -> Callable[..., Awaitable[Response]]:
    """An endpoint that encodes its answer, and whose ``query`` is read from ``place``.

    Sentences of the answer are in the languages of the caller where the query names none.
    """
    signature = inspect.signature(endpoint, eval_str=True)
    parameters = dict(signature.parameters)
    if takes_request := "request" in parameters:
        del parameters["request"]
    is_worded = "query" in parameters and issubclass(parameters["query"].annotation, ReadParams)
    if "query" in parameters:
        query = parameters["query"]
        parameters["query"] = query.replace(annotation=Annotated[query.annotation, place])

    async def respond(request: Request, **given: Any) -> Response:
        headers: dict[str, str] = {}
        if is_worded:
            headers["vary"] = "accept-language"
            query = given["query"]
            query.language = query.language or request.headers.get("accept-language", "")
        body = await endpoint(**given, **({"request": request} if takes_request else {}))
        if generation := getattr(body, "generation", ""):
            headers["x-generation"] = generation
        return Response(responses.encode(body, answer), media_type=JSON_TYPE, headers=headers)

    respond.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(parameters.values()), return_annotation=Response
    )
    return respond


def _name_operation(endpoint: Endpoint, method: str, methods: str) -> str:
    first, *others = endpoint.__name__.split("_")
    name = first + "".join(word.title() for word in others)
    return f"{name}ByBody" if method == "POST" and methods != method else name


def get_item(engine: Engine, item_id: str) -> Item:
    """Get the item with this id.

    Raises:
        UnknownItemError: it is not in the catalogue.
    """
    item = engine.item(item_id)
    if item is None:
        raise unknown_item_error(item_id)
    return item


def list_public(engine: Engine) -> list[str]:
    """The attributes of items that people see."""
    return [name for name in engine.attribute_names if engine.is_public(name)]


def require_public(
    engine: Engine, filters: Iterable[str], sort: str = "", facets: Iterable[str] = ()
) -> None:
    """Refuse tests and counts of, and an order by, attributes that are not for people to see.

    Raises:
        DataError: one is, as if no item had the attribute, or a test is none.
    """
    names = [test.attribute for one in filters for test in AttributeTest.parse(one).all]
    names += facets
    names += [sort.removeprefix(DESCENDING)] if sort else []
    for name in names:
        known = *engine.attribute_names, *engine.sort_names("search")
        if name not in known or not engine.is_public(name):
            hint = f"Items have: {', '.join(list_public(engine))}."
            raise DataError(f"no item has the attribute {name[:80]!r}.", hint)


def unknown_item_error(item_id: str) -> UnknownItemError:
    """The error for an id that is not in the catalogue."""
    return UnknownItemError(
        f"item {item_id[:80]!r} is not in the catalogue.", "Search finds ids by title."
    )
