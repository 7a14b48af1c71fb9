"""One exception tree for the whole engine.

::

    SerendipError
      ConfigError        the TOML file or an option is wrong            exit 2, HTTP 400
      DataError          the user's rows or a request body are wrong    exit 3, HTTP 422
        UnknownItemError an item id is not in the catalogue             exit 3, HTTP 404
      NotTrainedError    nothing is trained or published yet            exit 4, HTTP 503
      ArtefactError      a stored artefact is missing, altered or old   exit 5, HTTP 503
      UnsupportedError   this component cannot answer this query        exit 6, HTTP 422
      ExtraMissing       an optional package is not installed           exit 7, HTTP 503
      StorageError       the workspace database cannot take the write   exit 8, HTTP 503
        BusyError        it can as soon as other writes have ended      exit 8, HTTP 503

Every message names the thing and the value; ``hint`` names the next step. Only two places catch
the base class: ``cli.main`` (exit code) and ``serve`` (status code).
"""

from __future__ import annotations

from typing import ClassVar


class SerendipError(Exception):
    """Base of all errors that a user can act upon.

    Args:
        message: what happened, with the offending name and value.
        hint: what to do next, one sentence; empty where the message says it all.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"
    public_message: ClassVar[str] = ""
    """What clients of the service read instead of the message, which names what is the operator's;
    empty where the message is for everybody."""
    retry_after_s: ClassVar[int] = 0
    """When the same request may succeed; 0 = nobody knows."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(SerendipError, ValueError):
    """The configuration is wrong; the message has ``file: key`` and the value."""

    exit_code, status, kind = 2, 400, "config"


class DataError(SerendipError, ValueError):
    """Rows, ids or request fields are wrong; the message has counts and the first offenders."""

    exit_code, status, kind = 3, 422, "data"


class UnknownItemError(DataError):
    """An item is asked for by an id that the catalogue does not have, or no longer has."""

    status, kind = 404, "unknown_item"


class NotTrainedError(SerendipError):
    """Something is used before it was trained or published."""

    exit_code, status, kind = 4, 503, "not_trained"
    retry_after_s = 1


class ArtefactError(SerendipError):
    """A stored artefact is missing, altered or of another format version."""

    exit_code, status, kind = 5, 503, "artefact"
    public_message = "a stored artefact is missing, altered or old."


class UnsupportedError(SerendipError):
    """A component cannot answer this query; the message lists those that can."""

    exit_code, status, kind = 6, 422, "unsupported"


class ExtraMissing(SerendipError, ImportError):
    """An optional package is needed; the hint is the install command."""

    exit_code, status, kind = 7, 503, "extra_missing"


class StorageError(SerendipError):
    """The workspace database cannot take or give data now; nothing was acknowledged."""

    exit_code, status, kind = 8, 503, "storage"
    public_message = "the database cannot take or give data now."


class BusyError(StorageError):
    """Other writes keep the workspace database from taking this one; nothing was acknowledged."""

    kind = "busy"
    public_message = "the database is busy with other writes."
    retry_after_s = 1
