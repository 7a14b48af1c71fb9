"""Who may call a route: each declares its scopes (``declare``), and ``StrictRoute`` heeds them.

While a workspace has no keys, everybody on this machine may do everything. With keys, a request
shows one as ``Authorization: Bearer KEY``; browsers that visit the page are known by signed cookies
and have no rights beyond their own visit.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request

from serendip.data import Event
from serendip.data.api_key import ADMIN, READ_USERS, SCOPES, WRITE, ApiKey, read_key_id
from serendip.data.store.tables.api_keys import KeySnapshot
from serendip.errors import ForbiddenError, RateLimitError, UnauthenticatedError
from serendip.serve import limits
from serendip.serve.middleware import BODY_LIMIT
from serendip.serve.server_options import LOCAL, ServerOptions
from serendip.serve.shared_state import SharedState

VISITOR_COOKIE, SESSION_COOKIE = "serendip_visitor", "serendip_session"
KEY_SCHEME, VISITOR_SCHEME = "key", "visitor"
SECURITY_SCHEMES = {
    KEY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `serendip keys create`; none is needed while there is none.",
    },
    VISITOR_SCHEME: {
        "type": "apiKey",
        "in": "cookie",
        "name": VISITOR_COOKIE,
        "description": "A visitor of the page, for themselves only.",
    },
}

# A browser that signed in with a key writes nothing but its own visit.
_SESSION_SCOPES = frozenset({READ_USERS, ADMIN})

SESSION_S = 12 * 3600
_MOST_SECONDS_OFF = 60.0  # between the time of a visitor's event and its arrival
# A fair draw among 1,000 items. Who weighs events by 1 / propensity, as the report does up to 100,
# gives an impression of a visitor no more than that.
_LEAST_PROPENSITY = 0.001
_SAME_BY_ADDRESS = 20  # visitors at one address whose action with one item counts in an hour
_IMPRESSIONS = 20  # of an item that count like one other action with it
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_IMPRESSION = "impression"
_VISITOR_ACTIONS = frozenset({"click", _IMPRESSION, "like"})
_WITH_KEY = "Send the request with a key, as `Authorization: Bearer KEY`."


def declare(*scopes: str, visitors: bool = False) -> dict[str, Any]:
    """Who may call a route, as its ``openapi_extra``; without an argument everybody.

    A key needs all of the scopes. Visitors of the page call it for themselves; without scopes it is
    for everybody as a visitor, who sees nobody else.
    """
    security: list[dict[str, list[str]]] = [{KEY_SCHEME: list(scopes)}] if scopes else []
    return {"security": [*security, {VISITOR_SCHEME: []}] if visitors else security}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and what they may do."""

    scopes: frozenset[str] = frozenset()
    key: ApiKey | None = None  # that they showed, or signed in with
    visitor_id: str = ""  # of a visitor of the page; empty = not one, or not known yet
    is_open: bool = False  # whether no keys are asked for

    @property
    def is_visitor(self) -> bool:
        """Whether a cookie, and no key, says who they are."""
        return not self.is_open and bool(self.visitor_id)

    def sees(self, user_id: str) -> bool:
        """Whether they may see what is personal to a user."""
        return READ_USERS in self.scopes or user_id in ("", self.visitor_id)

    def require_sight(self, user_id: str) -> None:
        """Refuse a visitor of the page who asks for what is personal to somebody else."""
        if self.is_visitor and not self.sees(user_id):
            raise ForbiddenError("a visitor of the page asks for nobody else.", _WITH_KEY)


_EVERYBODY = Caller(frozenset(SCOPES), is_open=True)


def read_address(request: Request) -> str:
    """Where a request comes from, as errors name it; of IPv6 a network is one sender's."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return f"address {host[:80]}"
    mapped = getattr(address, "ipv4_mapped", None)  # by a socket for both versions
    if address.version == 4 or mapped:
        return f"address {mapped or address}"
    return f"network {ipaddress.ip_network((address, 64), strict=False)}"


class RateLimit:
    """How much senders send, counted for all workers of a service in the memory that they share.

    The generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number per sender:
    so much at once as the limit, and so much per period on average. Two senders of one place forget
    each other. Nothing is locked: two workers that count for a sender within a microsecond may
    count once.
    """

    def __init__(self, shared: SharedState, clock: Callable[[], float] = time.monotonic) -> None:
        self._senders, self._busy_until, self._clock = shared.senders, shared.busy_until, clock

    def take(self, sender: str, share: float, period_s: float = _HOUR_S) -> float:
        """Count what is sent if it is not too much; more than all at once always is.

        Args:
            sender: who sends what.
            share: of what they may send in a period.
            period_s: its seconds.

        Returns:
            The seconds after which it is not too much any more; 0 = it counts.
        """
        now, name = self._clock(), hash(sender)  # the same in all processes of a fork
        place = name % len(self._senders)
        is_known = self._senders[place] == name
        busy_until = max(self._busy_until[place], now) if is_known else now
        busy_until += share * period_s
        wait_s = busy_until - now - period_s
        if wait_s > 1e-6:
            return wait_s
        self._senders[place], self._busy_until[place] = name, busy_until
        return 0.0


class Access:
    """Who sends a request, and whether they may: keys, sessions and visitors, in one worker.

    Twice a second (``EngineHolder.watching``) the keys are read again if anything was committed, so
    that a revocation, and the end of a session, count in all workers within a second. An expiry
    counts at its moment. Signatures need the bytes of a file (``read_secret``), so that whoever
    reads the database, or a backup, signs nothing.
    """

    def __init__(self, options: ServerOptions = LOCAL, shared: SharedState | None = None) -> None:
        self._options, self._source = options, options.open_keys and options.open_keys()
        self._keys: KeySnapshot = KeySnapshot({})
        self._commit: int | None = None
        self._rates = RateLimit(shared or SharedState())

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: there has never been one, and only this machine asks."""
        return not (self._keys.keys or self._options.is_reachable)

    def load(self) -> None:
        """Read the keys if anything was committed since they were read."""
        if self._source is None:
            return
        commit = self._source.commit_number()
        if commit is None or commit != self._commit:
            self._keys = self._source.read()
            self._commit = commit

    def close(self) -> None:
        """Close the database of the keys."""
        if self._source is not None:
            self._source.close()

    def require_key(self, text: str) -> ApiKey:
        """The key with this text, or an ``UnauthenticatedError`` if there is none, or none now."""
        text = text.strip()
        key = self._keys.keys.get(read_key_id(text))
        if key is None or not key.matches(text):
            hint = "`serendip keys list` shows the keys there are."
            raise UnauthenticatedError("the key is not known here.", hint)
        if (state := key.state(time.time())) != "active":
            hint = "`serendip keys create` makes another one."
            raise UnauthenticatedError(f"key {key.key_id} is {state}.", hint)
        return key

    def sign(self, purpose: str, value: str) -> str:
        """The value with a signature, for a cookie."""
        digest = hmac.digest(self._options.secret, f"{purpose}\0{value}".encode(), "sha256")
        return f"{value}.{urlsafe_b64encode(digest).decode().rstrip('=')}"

    def read_signed(self, purpose: str, signed: str) -> str:
        """The value that was signed for this purpose; empty if the signature is wrong."""
        value = signed.rpartition(".")[0]
        expected = self.sign(purpose, value)
        return value if hmac.compare_digest(signed.encode(), expected.encode()) else ""

    def begin_session(self, key: ApiKey) -> str:
        """A value that stands for a key until it is refused, its sessions end, or 12 hours."""
        count = self._keys.ended_sessions.get(key.key_id, 0)
        return self.sign(SESSION_COOKIE, f"{key.key_id}-{count}-{int(time.time()) + SESSION_S}")

    def find_session(self, signed: str) -> ApiKey | None:
        """The key that a value of ``begin_session`` stands for, if it still does."""
        key_id, _, rest = self.read_signed(SESSION_COOKIE, signed).partition("-")
        key = self._keys.keys.get(key_id)
        if key is None or key.state(time.time()) != "active":
            return None
        count, end = map(int, rest.split("-"))
        is_valid = count == self._keys.ended_sessions.get(key_id, 0) and time.time() < end
        return key if is_valid else None

    def end_sessions(self, key: ApiKey) -> None:
        """End all sessions of a key, in this worker at once; waits for the database."""
        if self._source is not None:
            self._source.end_sessions(key.key_id)
            self.load()

    def admit(self, request: Request, needed: Mapping[str, Sequence[str]]) -> None:
        """Note who sends a request, and refuse it by what its route declares: scheme -> scopes."""
        state = request.scope["state"]
        state[BODY_LIMIT] = limits.MAX_VISITOR_BODY_BYTES
        if not needed:
            return
        scopes = needed.get(KEY_SCHEME, ())
        state["caller"] = caller = self._identify(request, is_page=not scopes)
        missing = [scope for scope in scopes if scope not in caller.scopes]
        if scopes and not missing:
            state[BODY_LIMIT] = limits.MAX_BODY_BYTES
        elif missing and not (VISITOR_SCHEME in needed and caller.visitor_id):
            command = f"`serendip keys create {' '.join(f'--scope {scope}' for scope in scopes)}`"
            if caller.key is not None:
                raise ForbiddenError(
                    f"key {caller.key.key_id} does not have the scope {missing[0]!r}.",
                    f"{command} makes one that does.",
                )
            raise UnauthenticatedError(
                f"this needs a key with the scope {' and '.join(map(repr, scopes))}.",
                f"Send it as `Authorization: Bearer KEY`; {command} makes one.",
            )

    def admit_events(self, request: Request, events: Sequence[Event]) -> list[Event]:
        """The events of a request that count: of a visitor an action with an item once an hour, and
        20 impressions of it.
        """
        caller = get_caller(request)
        if caller.is_open or WRITE in caller.scopes:
            return list(events)
        if caller.visitor_id and (problem := _find_foreign(events, caller.visitor_id)):
            raise ForbiddenError(problem, _WITH_KEY)
        address, most = read_address(request), self._options.config.visitor_events_per_minute
        if most and (wait_s := self._rates.take(address, len(events) / most, _MINUTE_S)):
            raise RateLimitError(
                f"{address} may send {most} events per minute.",
                "Send fewer, or with a key, or raise visitor_events_per_minute of [serve].",
                math.ceil(wait_s),
            )

        def counts(event: Event) -> bool:
            # A visitor may say that any query led to an item: it tells only searches apart.
            did = f"{event.action} {event.item_id} {'' if event.item_id else event.query}"
            share = 1 / _IMPRESSIONS if event.action == _IMPRESSION else 1.0
            return not (
                self._rates.take(f"{event.user_id} {did}", share)
                or self._rates.take(f"{address} {did}", share / _SAME_BY_ADDRESS)
            )

        return [
            replace(event, propensity=max(event.propensity, _LEAST_PROPENSITY))
            if event.propensity
            else event
            for event in filter(counts, events)
        ]

    def _identify(self, request: Request, is_page: bool) -> Caller:
        if self.is_open:
            return _EVERYBODY
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or is_page:
            cookies = request.cookies  # not http.cookies: it reads none if one is not quite legal
            visitor_id = self.read_signed(VISITOR_COOKIE, cookies.get(VISITOR_COOKIE, ""))
            key = self.find_session(cookies.get(SESSION_COOKIE, ""))
            return Caller(key.scopes & _SESSION_SCOPES if key else frozenset(), key, visitor_id)
        key = self.require_key(text)
        return Caller(key.scopes, key)


def _find_foreign(events: Sequence[Event], visitor_id: str) -> str:
    """Why events are none of a visitor's own visit; empty if they are.

    An id of a visitor's choice could be that of an event of the shop, which would be skipped.
    """
    now, most = time.time(), limits.MAX_VISITOR_EVENTS
    if any(event.event_id or event.value is not None for event in events):
        return "events of visitors have no event_id and no value."
    if any(abs(event.timestamp - now) > _MOST_SECONDS_OFF for event in events):
        return "events of visitors happen when they are sent."
    if any(event.user_id != visitor_id for event in events):
        return "a visitor of the page acts for nobody else."
    if {event.action for event in events} - _VISITOR_ACTIONS or len(events) > most:
        allowed = ", ".join(sorted(_VISITOR_ACTIONS))
        return f"a visitor of the page sends at most {most} events at once, of {allowed}."
    return ""


def get_caller(request: Request) -> Caller:
    """Who sends a request that was admitted."""
    caller: Caller = request.scope["state"]["caller"]
    return caller
