"""The exceptions of Serendip, with their exit codes and HTTP status codes.

::

    SerendipError
      ConfigError        the TOML file or an option is wrong             exit 2, HTTP 400
      DataError          rows of a file or a request body are wrong      exit 3, HTTP 422
        UnknownItemError an item id is not in the catalogue              exit 3, HTTP 404
        GateError        a gate refused a new generation                 exit 3, HTTP 422
      NotTrainedError    nothing is trained or published yet             exit 4, HTTP 503
      ArtefactError      a stored artefact is missing, altered or old    exit 5, HTTP 503
      UnsupportedError   a component cannot answer the query             exit 6, HTTP 422
      ExtraMissing       an optional package is not installed            exit 7, HTTP 503
      StorageError       the database cannot be read or written now      exit 8, HTTP 503
        LostConnectionError  its server fell silent during a write       exit 8, HTTP 503
        BusyError        the database is locked by other writes          exit 8, HTTP 503
        DiskFullError    the disk of the database is full                exit 8, HTTP 507
        ConflictError    another machine published meanwhile             exit 8, HTTP 503
        LockedError      another process does the same job               exit 8, HTTP 503
      UnauthenticatedError  a request has no valid key                   exit 1, HTTP 401
      ForbiddenError     a key or a visitor may not do this              exit 1, HTTP 403
      RateLimitError     too many requests                               exit 1, HTTP 429
      TooLargeError      the body of a request is too large              exit 1, HTTP 413
      OverloadError      more is asked for than can be computed          exit 1, HTTP 429
      LateError          an answer takes too long                        exit 1, HTTP 503
      ClientGoneError    the client hung up before its answer            exit 1, HTTP 499

Every message names the thing and the value; ``hint`` names the next step. ``cli.main`` turns them
into exit codes and ``serve`` into status codes; what may answer without the part that failed
catches the base class, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar


class SerendipError(Exception):
    """Base class of all errors that a user can act on.

    Args:
        message: what is wrong, with the name and the value.
        hint: the next step as one sentence; empty = none.

    Attributes:
        exit_code: of the command line.
        status: HTTP status code.
        kind: name of the error in HTTP answers.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"
    public_message: ClassVar[str] = ""
    """The message for HTTP clients, for errors whose own message has paths or other details of the
    operator; empty = clients get the own message."""
    outcome: ClassVar[str] = "Nothing was stored."
    """What has become of a write, for those clients."""
    retry_after_s: int = 0
    """Seconds after which the same request may succeed; 0 = unknown."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(SerendipError, ValueError):
    """The configuration is wrong; the message names the file, the key and the value."""

    exit_code, status, kind = 2, 400, "config"


class DataError(SerendipError, ValueError):
    """Rows, ids or request fields are wrong; the message has their number and the first ones."""

    exit_code, status, kind = 3, 422, "data"


class UnknownItemError(DataError):
    """The requested item is not in the catalogue: unknown, deleted or not available yet."""

    status, kind = 404, "unknown_item"


class GateError(DataError):
    """A gate refused a new generation; the published one stays in use."""

    kind = "gate"


class NotTrainedError(SerendipError):
    """A model or a generation is used before it was trained or published."""

    exit_code, status, kind = 4, 503, "not_trained"
    retry_after_s = 1


class ArtefactError(SerendipError):
    """A stored artefact is missing, altered or of another format version."""

    exit_code, status, kind = 5, 503, "artefact"
    public_message = "a stored artefact is missing, altered or old."


@contextmanager
def require_readable(place: Path, what: str, hint: str = "Run `serendip train`.") -> Iterator[None]:
    """Read a stored artefact; whatever is wrong with it is told by its place.

    Raises:
        ArtefactError: reading failed.
    """
    try:
        yield
    except (ArtefactError, MemoryError):
        raise
    except Exception as error:  # libraries that read files share no base class of exceptions
        message = f"{place} has no readable {what}: {str(error).rstrip('.')}."
        raise ArtefactError(message, hint) from error


class UnsupportedError(SerendipError):
    """A component cannot answer the query; the hint lists those that can."""

    exit_code, status, kind = 6, 422, "unsupported"


class ExtraMissing(SerendipError, ImportError):
    """An optional package is not installed; the hint is the install command."""

    exit_code, status, kind = 7, 503, "extra_missing"


class StorageError(SerendipError):
    """The workspace database cannot be read or written now; a write has stored nothing, but see
    ``LostConnectionError``.
    """

    exit_code, status, kind = 8, 503, "storage"
    public_message = "the database cannot be read or written now."


class LostConnectionError(StorageError):
    """The server of the database fell silent while it committed a write: nobody knows whether it
    is stored.
    """

    outcome = "Whether it was stored is not known: send it again, events with the same event_id."


class BusyError(StorageError):
    """The workspace database is locked by other writes; nothing was stored."""

    kind = "busy"
    public_message = "the database is busy with other writes."
    retry_after_s = 1


class DiskFullError(StorageError):
    """The disk of the workspace database is full; nothing was stored."""

    status, kind = 507, "storage_full"
    public_message = "the disk of the database is full."


class ConflictError(StorageError):
    """Another machine published a generation meanwhile; what it published stays in force."""

    kind = "conflict"
    public_message = "another machine published meanwhile."


class LockedError(StorageError):
    """Another process holds the lock of a folder or of a job; nothing was changed."""


class UnauthenticatedError(SerendipError):
    """A request has no key, or one that is unknown, revoked or expired."""

    status, kind = 401, "unauthenticated"


class ForbiddenError(SerendipError):
    """A key without the scope of a route, or a visitor of the page who asks for somebody else."""

    status, kind = 403, "forbidden"


class RateLimitError(SerendipError):
    """A key or an address sends too many requests.

    Args:
        message: what is wrong, with the name and the value.
        hint: the next step.
        retry_after_s: seconds until a request is accepted again.
    """

    status, kind = 429, "rate_limit"

    def __init__(self, message: str, hint: str, retry_after_s: int) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class TooLargeError(SerendipError):
    """The body of a request is larger than who sends it may send."""

    status, kind = 413, "too_large"


class OverloadError(SerendipError):
    """The service is asked for more than it can compute; nothing was computed."""

    status, kind = 429, "overload"
    retry_after_s = 1


class LateError(SerendipError):
    """An answer was not computed within the time that a request may take."""

    status, kind = 503, "timeout"
    retry_after_s = 1


class ClientGoneError(SerendipError):
    """The client has hung up, so that nobody reads the answer; the status is for metrics."""

    status, kind = 499, "client_gone"
