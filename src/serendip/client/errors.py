"""The error of a request that the service did not answer."""

from dataclasses import dataclass


@dataclass(eq=False)
class ApiError(Exception):
    """A request was refused, or nobody answered it.

    Args:
        status: HTTP status; 0 = there was no answer.
        type: stable name for programs, such as ``unknown_item``; ``unreachable`` without an answer,
            ``proxy`` of an answer that is not the service's.
        message: what is wrong, with the value.
        hint: the next step; empty = none.
        request_id: of the request in the log of the service; empty = it did not get there.
        retry_after_s: seconds after which the service asks to try again; 0 = it does not say.
    """

    status: int
    type: str
    message: str
    hint: str = ""
    request_id: str = ""
    retry_after_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
