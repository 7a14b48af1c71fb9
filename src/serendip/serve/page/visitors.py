"""Who visits the page, and whose feed it shows.

Without keys a visitor picks a user, in the address. With keys a visitor is known by a signed cookie
with a random id and sees only their own feed; who signs in with a key of the scope ``read:users``
looks at the feeds of others, and changes nothing there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request, Response

from serendip.data.api_key import ADMIN, READ_USERS
from serendip.errors import ForbiddenError
from serendip.serve.access import (
    SESSION_COOKIE,
    SESSION_S,
    VISITOR_COOKIE,
    Access,
    Caller,
    get_caller,
)
from serendip.serve.page.params import PageQuery, visitor_id

_VISITOR_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page.

    Args:
        caller: who sends it.
        own_id: of the visitor.
        user_id: whose feed is shown.
    """

    caller: Caller
    own_id: str
    user_id: str

    @property
    def shows_users(self) -> bool:
        """Whether the page offers the feeds of other people."""
        return READ_USERS in self.caller.scopes

    @property
    def shows_report(self) -> bool:
        """Whether the page leads to the quality report."""
        return ADMIN in self.caller.scopes

    @property
    def shows_numbers(self) -> bool:
        """Whether the page tells how an item was ranked, bids of sold places included."""
        return self.shows_users or self.shows_report

    @property
    def account(self) -> str:
        """What the foot of the page offers: ``sign-in``, ``sign-out`` or nothing."""
        if self.caller.is_open:
            return ""
        return "sign-out" if self.caller.key else "sign-in"

    def require_own(self) -> None:
        """Refuse a change in the name of somebody whose feed is only looked at.

        Raises:
            ForbiddenError: the feed is not the visitor's own.
        """
        if self.user_id != self.own_id:
            raise ForbiddenError(
                f"this is the feed of {self.user_id[:80]!r}; nothing can be changed in it.",
                "Go back to your own feed first.",
            )


def find_visit(request: Request, query: PageQuery) -> Visit:
    """Who sends a request for a page, and whose feed they get; a new visitor gets an id."""
    caller = get_caller(request)
    if caller.is_open:
        user_id = query.user or visitor_id()
        return Visit(caller, user_id, user_id)
    own_id = caller.visitor_id or visitor_id()
    shown = query.user if query.user and caller.sees(query.user) else own_id
    return Visit(caller, own_id, shown)


def remember(access: Access, request: Request, response: Response, visit: Visit) -> None:
    """Give a new visitor their cookie."""
    if not (visit.caller.is_open or visit.caller.visitor_id):
        value = access.sign(VISITOR_COOKIE, visit.own_id)
        _set_cookie(request, response, VISITOR_COOKIE, value, _VISITOR_S)


def sign_in(access: Access, request: Request, response: Response, text: str) -> None:
    """Let a browser look at the feeds of others, and at the report, as a key allows.

    Raises:
        UnauthenticatedError: there is no such key, or it is not accepted any more.
        ForbiddenError: the key allows neither.
    """
    key = access.require_key(text)
    if not key.scopes & {READ_USERS, ADMIN}:
        raise ForbiddenError(
            f"key {key.key_id} shows nothing more here.",
            f"`serendip keys create --scope {READ_USERS}` makes one that shows all users.",
        )
    _set_cookie(request, response, SESSION_COOKIE, access.begin_session(key), SESSION_S)


async def sign_out(access: Access, request: Request, response: Response) -> None:
    """End all sessions of the key that a browser signed in with.

    Raises:
        StorageError: the database cannot be written to.
    """
    key = get_caller(request).key
    if key is not None:
        await asyncio.to_thread(access.end_sessions, key)
    _set_cookie(request, response, SESSION_COOKIE, "", 0)


def _set_cookie(request: Request, response: Response, name: str, value: str, age_s: int) -> None:
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        *(name, value, age_s), path="/", secure=is_secure, httponly=True, samesite="lax"
    )
