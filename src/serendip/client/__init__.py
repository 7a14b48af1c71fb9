"""A client of the HTTP API; it needs the extra ``client`` and no other part of the package."""

from serendip.client.clients import AsyncClient, Client
from serendip.client.errors import ApiError

__all__ = ["ApiError", "AsyncClient", "Client"]
