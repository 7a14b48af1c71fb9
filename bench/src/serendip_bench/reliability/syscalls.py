"""Records what a process asks of the file system, with ``strace``, and reads the record.

So it does not matter who writes: SQLite, Arrow, numpy or Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serendip.errors import ConfigError, ExtraMissing

UNKNOWN = (
    "creat",
    "pwritev2",
    "sendfile",
    "copy_file_range",
    "fallocate",
    "truncate",
    "sync_file_range",
    "symlink",
    "symlinkat",
)
"""Calls that are recorded so that one to a file that matters does not go unnoticed."""

_RECORDED = (
    "open,openat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,ftruncate,"
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat"
)
_MOST_BYTES = 1 << 26
"""Of one write, so that none is cut."""

_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
_WHOLE = re.compile(r"(?P<name>\w+)\((?P<args>.*)\)\s+= (?P<result>-?\d+)(?:<.*>)?(?: .*)?")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_UNFINISHED = " <unfinished ...>"
_ARGUMENT = re.compile(r'"(?:[^"]*)"|\[[^\]]*\]|\{[^}]*\}|[^,\s][^,]*')


@dataclass(frozen=True, slots=True)
class SystemCall:
    """A system call that succeeded.

    Args:
        arguments: as strace writes them.
    """

    name: str
    arguments: Sequence[str]
    result: int

    def text(self, place: int) -> bytes:
        """The bytes of an argument that is a string."""
        return bytes.fromhex(self.arguments[place].strip('"').replace("\\x", ""))

    def texts(self, place: int) -> bytes:
        """The bytes of an argument that is a list of strings, one after the other."""
        parts = re.findall(r'iov_base="([^"]*)"', self.arguments[place])
        return bytes.fromhex("".join(parts).replace("\\x", ""))

    def number(self, place: int) -> int:
        """An argument that is a number; the working folder is -100, as in C."""
        value = self.arguments[place]
        return -100 if value == "AT_FDCWD" else int(value, 0)


def require_strace() -> str:
    """The command ``strace``.

    Raises:
        ExtraMissing: it is not installed.
    """
    if found := shutil.which("strace"):
        return found
    raise ExtraMissing("strace is not installed.", "Install it, for example `apt install strace`.")


def record(command: Sequence[str], out: Path) -> None:
    """Run a command and record its calls into a file.

    Raises:
        ExtraMissing: strace is not installed.
        ConfigError: the command fails, or nothing may be traced here.
    """
    strace = [
        require_strace(),
        "-f",
        "-xx",
        "-s",
        str(_MOST_BYTES),
        "-e",
        f"trace={_RECORDED},{','.join(UNKNOWN)}",
    ]
    done = subprocess.run(
        [*strace, "-o", os.fspath(out), *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(
            f"{command[0]} ended with code {done.returncode} under strace: {done.stderr[-500:]}",
            "Allow processes to be traced here (ptrace).",
        )


def read_calls(path: Path) -> Iterator[SystemCall]:
    """The calls of a record that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    with path.open(encoding="ascii") as stream:
        for line in stream:
            matched = _LINE.match(line)
            if matched is None:
                continue
            pid, rest = matched["pid"], matched["rest"]
            if rest.endswith(_UNFINISHED):
                begun[pid] = rest.removesuffix(_UNFINISHED)
                continue
            if resumed := _RESUMED.match(rest):
                rest = begun.pop(pid) + resumed["rest"]
            if call := _read_call(rest):
                yield call


def _read_call(text: str) -> SystemCall | None:
    whole = _WHOLE.fullmatch(text)
    if whole is None or whole["result"].startswith("-"):
        return None
    return SystemCall(whole["name"], _ARGUMENT.findall(whole["args"]), int(whole["result"]))
