"""Who may call a route: every route declares its scopes, and is guarded by what it declares.

The declaration is the ``security`` of the route in ``/openapi.json``; no route can be made without.
While a workspace has no keys, everybody on this machine may do everything. With keys, a request
shows one as ``Authorization: Bearer KEY``; browsers that visit the page are known by signed cookies
and have no rights beyond their own visit.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import math
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from serendip.data import Event
from serendip.data.api_key import ADMIN, READ_USERS, SCOPES, WRITE, ApiKey, read_key_id
from serendip.data.store.tables.api_keys import ApiKeys, KeySnapshot
from serendip.errors import ForbiddenError, RateLimitError, UnauthenticatedError
from serendip.runtime.atomic_files import flush_folder, lock_file
from serendip.serve import limits
from serendip.serve.middleware import BODY_LIMIT

_log = logging.getLogger(__name__)

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
_SESSION = "session"
_SECRET_BYTES = 32
_MOST_SECONDS_OFF = 60.0  # between the time of a visitor's event and its arrival
# A fair draw among 1,000 items. Who weighs events by 1 / propensity, as the report does up to 100,
# gives an impression of a visitor no more than that.
_LEAST_PROPENSITY = 0.001
_SAME_BY_ADDRESS = 20  # visitors at one address whose action with one item counts in an hour
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_MAX_SENDERS = 100_000  # of more, the half that may soonest send everything is forgotten
_IMPRESSION = "impression"
_VISITOR_ACTIONS = frozenset({"click", _IMPRESSION, "like"})
_WITH_KEY = "Send the request with a key, as `Authorization: Bearer KEY`."


def declare(*scopes: str, visitors: bool = False) -> dict[str, Any]:
    """Who may call a route, as its ``openapi_extra``; without an argument everybody.

    Args:
        scopes: that a key needs, all of them.
        visitors: whether visitors of the page may call it for themselves; without scopes it is for
            everybody as a visitor, who sees nobody else.
    """
    security: list[dict[str, list[str]]] = [{KEY_SCHEME: list(scopes)}] if scopes else []
    return {"security": [*security, {VISITOR_SCHEME: []}] if visitors else security}


class KeyRing:
    """The keys of one workspace in the memory of one worker, sessions and signatures.

    Twice a second (``Follower``) the keys are read again if anything was committed, so that a
    revocation, and the end of a session, count in all workers within a second. An expiry counts at
    its moment.

    Args:
        source: where they are stored; None = there are none, ever.
        is_reachable: whether others than this machine reach the service; then it is never open.
        secret_file: whose bytes signatures need beside the secret in the source, so that whoever
            reads the database signs nothing; made if it is missing. None = there is none.
    """

    def __init__(
        self,
        source: ApiKeys | None = None,
        is_reachable: bool = False,
        secret_file: Path | None = None,
    ) -> None:
        self._source, self._is_reachable, self._secret_file = source, is_reachable, secret_file
        self._keys: KeySnapshot = KeySnapshot({}, b"")
        self._secret = os.urandom(_SECRET_BYTES)
        self._beside: bytes | None = None  # the bytes of the file
        self._commit: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: there has never been one, and only this machine asks."""
        return not (self._keys.keys or self._is_reachable)

    def find(self, text: str) -> ApiKey | None:
        """The key with this text, accepted or not; None if there is none."""
        key = self._keys.keys.get(read_key_id(text))
        return key if key is not None and key.matches(text) else None

    def sign(self, purpose: str, value: str) -> str:
        """The value with a signature, for a cookie."""
        digest = hmac.digest(self._secret, f"{purpose}\0{value}".encode(), "sha256")
        return f"{value}.{urlsafe_b64encode(digest).decode().rstrip('=')}"

    def read_signed(self, purpose: str, signed: str) -> str:
        """The value that was signed for this purpose; empty if the signature is wrong."""
        value = signed.rpartition(".")[0]
        expected = self.sign(purpose, value)
        return value if hmac.compare_digest(signed.encode(), expected.encode()) else ""

    def begin_session(self, key: ApiKey) -> str:
        """A value that stands for a key until it is refused, its sessions end, or 12 hours."""
        count = self._keys.ended_sessions.get(key.key_id, 0)
        return self.sign(_SESSION, f"{key.key_id}-{count}-{int(time.time()) + SESSION_S}")

    def find_session(self, signed: str) -> ApiKey | None:
        """The key that a value of ``begin_session`` stands for, if it still does."""
        key_id, _, rest = self.read_signed(_SESSION, signed).partition("-")
        key = self._keys.keys.get(key_id)
        if key is None or not is_accepted(key):
            return None
        count, end = map(int, rest.split("-"))
        is_valid = count == self._keys.ended_sessions.get(key_id, 0) and time.time() < end
        return key if is_valid else None

    def end_sessions(self, key: ApiKey) -> None:
        """End all sessions of a key, in this worker at once; waits for the database."""
        if self._source is not None:
            self._source.end_sessions(key.key_id)
            self.load()

    def load(self) -> None:
        """Read the keys if anything was committed since they were read."""
        if self._source is None:
            return
        commit = self._source.commit_number()
        if commit is None or commit != self._commit:
            self._keys = keys = self._source.read()
            if keys.secret:
                self._beside = self._beside or self._read_secret_file()
                self._secret = keys.secret + self._beside
            self._commit = commit

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()

    def _read_secret_file(self) -> bytes:
        """The bytes of the file, which the first of several processes makes.

        One that is not whole is made anew: whoever had signed in does so again.
        """
        path = self._secret_file
        if path is None:
            return b""
        try:
            if not _is_whole(path):
                with lock_file(path.with_name(f"{path.name}.lock"), wait=True):
                    if not _is_whole(path):
                        _make_secret_file(path)
            return path.read_bytes()
        except OSError:  # a disk that nobody writes to: sessions of this process end with it
            _log.warning("%s cannot be made; who signs in does so again after a restart", path.name)
            return os.urandom(_SECRET_BYTES)


def _is_whole(secret_file: Path) -> bool:
    return secret_file.exists() and secret_file.stat().st_size >= _SECRET_BYTES


def _make_secret_file(path: Path) -> None:
    # Its name appears once its bytes are on disk: after a crash nobody signs with fewer.
    handle, part = mkstemp(prefix=f"{path.name}.", dir=path.parent)  # for its owner alone
    try:
        with open(handle, "wb") as stream:
            stream.write(os.urandom(_SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    flush_folder(path.parent)


def is_accepted(key: ApiKey) -> bool:
    """Whether a key counts now."""
    return key.state(time.time()) == "active"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Args:
        scopes: what they may do.
        key: that they showed, or signed in with; None = none.
        visitor_id: of a visitor of the page; empty = not one, or not known yet.
        is_open: whether no keys are asked for.
    """

    scopes: frozenset[str] = frozenset()
    key: ApiKey | None = None
    visitor_id: str = ""
    is_open: bool = False

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

    def require_visit(self, events: Sequence[Event], now: float) -> None:
        """Refuse a visitor of the page who sends other events than those of their own visit.

        The page sends no ids and no values. An id of a visitor's choice could be that of an event
        that the shop sends later, which would be skipped.
        """
        if not self.is_visitor:
            return
        problem, most = "", limits.MAX_VISITOR_EVENTS
        if any(event.event_id or event.value is not None for event in events):
            problem = "events of visitors have no event_id and no value."
        elif any(abs(event.timestamp - now) > _MOST_SECONDS_OFF for event in events):
            problem = "events of visitors happen when they are sent."
        elif any(event.user_id != self.visitor_id for event in events):
            problem = "a visitor of the page acts for nobody else."
        elif {event.action for event in events} - _VISITOR_ACTIONS or len(events) > most:
            allowed = ", ".join(sorted(_VISITOR_ACTIONS))
            problem = f"a visitor of the page sends at most {most} events at once, of {allowed}."
        if problem:
            raise ForbiddenError(problem, _WITH_KEY)


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
    """A limit for each sender, counted in the memory of one worker.

    The generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number per sender:
    so much at once as the limit, and so much per period on average. Only the event loop calls it.

    Args:
        limit: for a period, at least 1; None = no limit.
        period_s: seconds of a period.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        limit: int | None,
        period_s: float = _MINUTE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._period_s, self._clock = limit, period_s, clock
        self._busy_until: dict[str, float] = {}

    def take(self, sender: str, count: int = 1) -> float:
        """Count what a sender sends if that is not too much; more than the limit at once always is.

        Returns:
            seconds after which it is not too much any more; 0 = it counts.
        """
        if self._limit is None:
            return 0.0
        now = self._clock()
        busy_until = max(self._busy_until.get(sender, now), now)
        busy_until += count * self._period_s / self._limit
        wait_s = busy_until - now - self._period_s
        if wait_s > 1e-6:
            return wait_s
        self._busy_until[sender] = busy_until
        if len(self._busy_until) > _MAX_SENDERS:
            latest = sorted(self._busy_until.items(), key=lambda pair: pair[1])
            self._busy_until = dict(latest[_MAX_SENDERS // 2 :])
        return 0.0


class Access:
    """Finds out who sends a request, and whether they may.

    Args:
        ring: the keys; None = there are none.
        events_per_minute: events of one address without a key that count; None = no limit.
    """

    def __init__(self, ring: KeyRing | None = None, events_per_minute: int | None = None) -> None:
        self.ring = ring or KeyRing()
        self._events_per_minute, self._events = events_per_minute, RateLimit(events_per_minute)
        self._by_visitor = RateLimit(1, _HOUR_S)
        self._by_address = RateLimit(_SAME_BY_ADDRESS, _HOUR_S)

    def admit(self, request: Request, needed: Mapping[str, Sequence[str]]) -> None:
        """Let a request pass, and note who sends it.

        Args:
            request: to the route.
            needed: what the route declares: scheme -> scopes.

        Raises:
            UnauthenticatedError: it needs a key and has none that is accepted.
            ForbiddenError: the key does not have the scope.
        """
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
        """The events of a request that count: of a visitor an action with an item once an hour.

        Raises:
            RateLimitError: an address without a key sends too many.
        """
        caller = get_caller(request)
        if caller.is_open or WRITE in caller.scopes:
            return list(events)
        address = read_address(request)
        if wait_s := self._events.take(address, len(events)):
            raise RateLimitError(
                f"{address} may send {self._events_per_minute} events per minute.",
                "Send fewer, or with a key, or raise visitor_events_per_minute of [serve].",
                math.ceil(wait_s),
            )

        def counts(event: Event) -> bool:
            # A visitor may say that any query led to an item: it tells only searches apart.
            did = f"{event.action} {event.item_id} {'' if event.item_id else event.query}"
            return event.action == _IMPRESSION or not (
                self._by_visitor.take(f"{event.user_id} {did}")
                or self._by_address.take(f"{address} {did}")
            )

        return [_bound_propensity(event) for event in events if counts(event)]

    def _identify(self, request: Request, is_page: bool) -> Caller:
        if self.ring.is_open:
            return _EVERYBODY
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or is_page:
            cookies = request.cookies  # not http.cookies: it reads none if one is not quite legal
            visitor_id = self.ring.read_signed(VISITOR_COOKIE, cookies.get(VISITOR_COOKIE, ""))
            key = self.ring.find_session(cookies.get(SESSION_COOKIE, ""))
            return Caller(key.scopes & _SESSION_SCOPES if key else frozenset(), key, visitor_id)
        key = self.ring.find(text.strip())
        if key is None:
            raise UnauthenticatedError(
                "the key is not known here.", "`serendip keys list` shows the keys there are."
            )
        if not is_accepted(key):
            raise UnauthenticatedError(
                f"key {key.key_id} is {key.state(time.time())}.",
                "`serendip keys create` makes another one.",
            )
        return Caller(key.scopes, key)


def _bound_propensity(event: Event) -> Event:
    if event.propensity is None or event.propensity >= _LEAST_PROPENSITY:
        return event
    return replace(event, propensity=_LEAST_PROPENSITY)


def get_caller(request: Request) -> Caller:
    """Who sends a request that was admitted."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


class ScopedRoute(APIRoute):
    """A route that admits only whom it declares; without a declaration it cannot be made."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        security = (self.openapi_extra or {}).get("security")
        if security is None:
            raise TypeError(f"route {path} declares no scope: see serve/access.py")
        self._needed = {name: scopes for scheme in security for name, scopes in scheme.items()}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of who may call it."""
        if scope["method"] in (self.methods or ()):
            scope["app"].state.access.admit(Request(scope), self._needed)
        await super().handle(scope, receive, send)
