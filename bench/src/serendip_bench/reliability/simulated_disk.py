"""A disk that keeps, when the power goes, what was synced, and of the rest nothing or some of it.

What POSIX promises, and no more: the bytes of a file are kept once the file is synced, a name once
its folder is. What came after may be lost. Of what is not synced, either nothing is kept, or each
block of a write and each truncation with even chances (so that writes are torn and come in any
order), and of the changes of a folder the first ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from serendip_bench.reliability.syscalls import UNKNOWN, SystemCall

_BLOCK = 4096

Write: TypeAlias = tuple[int, bytes]
"""First byte, and bytes. A truncation is its size and no bytes."""

Names: TypeAlias = "dict[str, _File | _Folder | None]"
"""New names of nodes, all at once; None takes a name away."""


@dataclass(slots=True, eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)
    size: int = 0

    def write(self, begin: int, data: bytes) -> None:
        if data:
            self.pending += [
                (begin + at, data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK)
            ]
            self.size = max(self.size, begin + len(data))

    def truncate(self, size: int) -> None:
        self.pending.append((size, b""))
        self.size = size

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.synced, change)
        self.pending.clear()

    def kept(self, rng: random.Random | None) -> bytes:
        content = bytearray(self.synced)
        for change in self.pending if rng else ():
            if rng and rng.random() < 0.5:
                _apply(content, change)
        return bytes(content)


def _apply(content: bytearray, change: Write) -> None:
    begin, data = change
    if len(content) < begin + len(data):
        content.extend(bytes(begin + len(data) - len(content)))
    if data:
        content[begin : begin + len(data)] = data
    else:
        del content[begin:]


@dataclass(slots=True, eq=False)
class _Folder:
    names: dict[str, _File | _Folder] = field(default_factory=dict)
    synced: dict[str, _File | _Folder] = field(default_factory=dict)
    pending: list[Names] = field(default_factory=list)

    def change(self, names: Names) -> None:
        _rename(self.names, names)
        self.pending.append(names)

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.pending.clear()

    def kept(self, rng: random.Random | None) -> dict[str, _File | _Folder]:
        names = dict(self.synced)
        count = rng.randint(0, len(self.pending)) if rng else 0
        for change in self.pending[:count]:
            _rename(names, change)
        return names


def _rename(names: dict[str, _File | _Folder], change: Names) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


_Place: TypeAlias = tuple[_Folder, str]
"""Folder and name in it."""


@dataclass(slots=True)
class _Opened:
    node: _File | _Folder
    position: int = 0
    appends: bool = False


class SimulatedDisk:
    """The files below one folder, as the calls of a process change them.

    Args:
        root: the folder, absolute and empty before the first call.
    """

    def __init__(self, root: Path) -> None:
        self._place = f"{root}/".encode()
        self._root = _Folder()
        self._open: dict[int, _Opened] = {}
        self._changes = 0

    def apply(self, call: SystemCall) -> bool:
        """Follow a call.

        Returns:
            whether it changed or synced anything here.

        Raises:
            ValueError: it does something to these files that this class does not know.
        """
        before = self._changes
        _CALLS[call.name](self, call)
        return self._changes != before

    def size(self, name: str) -> int:
        """Bytes of a file in the folder itself, synced or not; 0 = there is none."""
        node = self._root.names.get(name)
        return node.size if isinstance(node, _File) else 0

    def keep(self, folder: Path, rng: random.Random | None = None) -> None:
        """Write what is left after a cut of the power into an empty folder.

        Args:
            folder: that exists.
            rng: decides what is kept of what was not synced; None = nothing of it.
        """
        _write_out(self._root, folder, rng)

    def _do_open(self, call: SystemCall) -> None:
        at = int(call.name == "openat")
        found = self._find(call, at)
        self._open.pop(call.result, None)
        if found is None:
            return
        parent, name = found
        flags = call.arguments[at + 1]
        node = parent.names.get(name) if name else parent
        if node is None:
            node = _File()
            self._rename(parent, {name: node})
        if "O_TRUNC" in flags and isinstance(node, _File) and node.size:
            node.truncate(0)
            self._changes += 1
        self._open[call.result] = _Opened(node, appends="O_APPEND" in flags)

    def _do_close(self, call: SystemCall) -> None:
        self._open.pop(call.number(0), None)

    def _do_duplicate(self, call: SystemCall) -> None:
        if call.name == "fcntl" and not call.arguments[1].startswith("F_DUPFD"):
            return
        self._open.pop(call.result, None)
        if opened := self._open.get(call.number(0)):
            self._open[call.result] = opened

    def _do_seek(self, call: SystemCall) -> None:
        if opened := self._open.get(call.number(0)):
            opened.position = call.result

    def _do_write(self, call: SystemCall) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None and isinstance(opened.node, _File):
            if opened.appends:
                opened.position = opened.node.size
            self._write(opened.node, opened.position, call)
            opened.position += call.result

    def _do_write_at(self, call: SystemCall) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None and isinstance(opened.node, _File):
            self._write(opened.node, call.number(3), call)

    def _do_truncate(self, call: SystemCall) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None and isinstance(opened.node, _File):
            opened.node.truncate(call.number(1))
            self._changes += 1

    def _do_sync(self, call: SystemCall) -> None:
        if opened := self._open.get(call.number(0)):
            opened.node.sync()
            self._changes += 1

    def _do_rename(self, call: SystemCall) -> None:
        if found := self._find_two(call, int(call.name != "rename")):
            (old, name), (new, new_name) = found
            node = old.names[name]
            if old is new:
                self._rename(old, {name: None, new_name: node})
            else:
                self._rename(old, {name: None})
                self._rename(new, {new_name: node})

    def _do_link(self, call: SystemCall) -> None:
        if found := self._find_two(call, int(call.name != "link")):
            (old, name), (new, new_name) = found
            self._rename(new, {new_name: old.names[name]})

    def _do_remove(self, call: SystemCall) -> None:
        if found := self._find(call, int(call.name == "unlinkat")):
            self._rename(found[0], {found[1]: None})

    def _do_make_folder(self, call: SystemCall) -> None:
        found = self._find(call, int(call.name == "mkdirat"))
        if found is not None and found[1]:
            self._rename(found[0], {found[1]: _Folder()})

    def _refuse(self, call: SystemCall) -> None:
        handle = call.arguments[0]
        if handle.isdigit() and int(handle) in self._open:
            raise ValueError(f"{call.name} to a file of the workload cannot be followed")

    def _write(self, file: _File, begin: int, call: SystemCall) -> None:
        data = call.texts(1) if call.name.endswith("v") else call.text(1)
        file.write(begin, data[: call.result])
        self._changes += 1

    def _rename(self, folder: _Folder, names: Names) -> None:
        folder.change(names)
        self._changes += 1

    def _find_two(self, call: SystemCall, at: int) -> tuple[_Place, _Place] | None:
        old, new = self._find(call, at), self._find(call, 1 + 2 * at)
        return None if old is None or new is None else (old, new)

    def _find(self, call: SystemCall, place: int) -> _Place | None:
        """Place of a path among the arguments; None = it is elsewhere.

        The argument before it is the folder that it starts from, if there is one.
        """
        path = call.text(place)
        if path.startswith(b"/"):
            if not (path + b"/").startswith(self._place):
                return None
            folder, path = self._root, path[len(self._place) :]
        else:
            opened = self._open.get(call.number(place - 1)) if place else None
            if opened is None or not isinstance(opened.node, _Folder):
                return None
            folder = opened.node
        *parents, name = path.decode().rstrip("/").split("/")
        for parent in parents:
            node = folder.names[parent]
            assert isinstance(node, _Folder)
            folder = node
        return folder, name


_CALLS: dict[str, Callable[[SimulatedDisk, SystemCall], None]] = {
    **dict.fromkeys(("open", "openat"), SimulatedDisk._do_open),
    "close": SimulatedDisk._do_close,
    **dict.fromkeys(("dup", "dup2", "dup3", "fcntl"), SimulatedDisk._do_duplicate),
    "lseek": SimulatedDisk._do_seek,
    **dict.fromkeys(("write", "writev"), SimulatedDisk._do_write),
    **dict.fromkeys(("pwrite64", "pwritev"), SimulatedDisk._do_write_at),
    "ftruncate": SimulatedDisk._do_truncate,
    **dict.fromkeys(("fsync", "fdatasync"), SimulatedDisk._do_sync),
    **dict.fromkeys(("rename", "renameat", "renameat2"), SimulatedDisk._do_rename),
    **dict.fromkeys(("link", "linkat"), SimulatedDisk._do_link),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), SimulatedDisk._do_remove),
    **dict.fromkeys(("mkdir", "mkdirat"), SimulatedDisk._do_make_folder),
    **dict.fromkeys(UNKNOWN, SimulatedDisk._refuse),
}


def _write_out(folder: _Folder, place: Path, rng: random.Random | None) -> None:
    for name, node in folder.kept(rng).items():
        if isinstance(node, _File):
            (place / name).write_bytes(node.kept(rng))
        else:
            (place / name).mkdir()
            _write_out(node, place / name, rng)
