"""Pictures of items for the page: files of the workspace, or addresses of allowed hosts.

The attribute that names a picture comes from whoever wrote the catalogue or posted the item, so
it is not trusted: a file must lie inside the workspace, links followed, and start as a picture
does; an address must be `https` and of a host that the settings allow.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import field_validator

from serendip.config import Config
from serendip.content.encoders.image import ImageConfig
from serendip.content.encoders.media_files import read_bounded, resolve_workspace_file
from serendip.data import Item
from serendip.errors import DataError

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_ADDRESS = re.compile(r"https://([a-z0-9.-]+)(?:[/?][^\s\\\x00-\x1f\x7f]*)?", re.IGNORECASE)
# Of two letters or more: `C:` is a drive.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


_SIGNATURES = {
    **{b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"},
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "image/gif"),
}  # SVG is not among them: it may hold scripts


class PageConfig(Config):
    """``[page]``: what the page shows besides the answers of the engine."""

    image: str = ""
    """Item attribute that names the picture on a card: a path inside the workspace, or an `https`
    address; empty = `field` of `[content.image]`, and no pictures without that table."""

    image_hosts: tuple[str, ...] = ()
    """Hosts from which browsers may load pictures, each by its exact name (`cdn.example.com`); an
    address of any other host is not loaded."""

    fields: tuple[str, ...] = ()
    """Attributes that each item of an answer carries unless a request names others (`fields`): what
    a card shows, such as a price, a picture and a link. `serendip init` writes those it finds."""

    attributes: tuple[str, ...] | None = None
    """Item attributes that people see on the page, filter and sort by. None = all but bids,
    margins, costs, commissions and profits: those that the settings use as such, and those whose
    names say so (`unitCost`, `purchase price`, `Marge`, `원가`), which `serendip init` prints. The
    API answers a key with all of them."""

    @field_validator("image_hosts")
    @classmethod
    def _are_host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:  # they become part of a header
            if not _HOST.fullmatch(host.lower()):
                raise ValueError(f"{host!r} is not a host name such as 'cdn.example.com'")
        return tuple(host.lower() for host in hosts)


@dataclass(frozen=True, slots=True)
class Picture:
    """The content of a picture file.

    Args:
        media_type: what they are, by their signature: ``image/png``.
    """

    body: bytes
    media_type: str

    @property
    def version(self) -> str:
        """Hash that changes whenever the content does."""
        return hashlib.sha256(self.body).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ItemPictures:
    """Finds the pictures of items.

    Args:
        attribute: item attribute that names the picture; empty = items have none.
        folder: the workspace; paths are relative to it and must not leave it.
        max_bytes: larger files are not shown.
        hosts: names of the hosts whose addresses are shown.
    """

    attribute: str
    folder: Path
    max_bytes: int
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, page: PageConfig, image: ImageConfig | None) -> Self:
        """Build from the settings; ``image`` is what the image encoder reads, if there is one."""
        attribute = page.image or (image.field if image else "")
        limits = image or ImageConfig()
        return cls(attribute, folder, limits.max_bytes, page.image_hosts)

    def remote_address(self, item: Item) -> str:
        """The `https` address of an item's picture; empty if it has none on an allowed host."""
        name = self._name(item)
        address = _ADDRESS.fullmatch(name)
        return name if address and address[1].lower() in self.hosts else ""

    def names_file(self, item: Item) -> bool:
        """True if an item names a file; whether it is there and a picture is seen by ``read``."""
        name = self._name(item)
        return bool(name) and not _SCHEME.match(name)

    def read(self, item: Item) -> Picture | None:
        """Read the picture file of an item; None if it names none that may be shown."""
        if not self.names_file(item):
            return None
        try:
            path = resolve_workspace_file(self.folder, self._name(item))
            body = read_bounded(path, self.max_bytes)
        except DataError:
            return None
        media_type = _media_type(body)
        return Picture(body, media_type) if media_type else None

    def _name(self, item: Item) -> str:
        return item.field_text(self.attribute).strip() if self.attribute else ""


def _media_type(body: bytes) -> str:
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for sign, kind in _SIGNATURES.items() if body.startswith(sign)), "")
