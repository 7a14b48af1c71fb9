"""Runs a script whose database cannot be synced while a file exists, as on a disk that fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sync of a file of the database fails while the file exists that the environment names. */
static int fails(int file) {
    const char *path = getenv("SYNC_FAILS");
    char link[64], name[4096];
    if (!path || access(path, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return strstr(name, ".db") != NULL;
}
int fsync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
int fdatasync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
"""


def run_script(script: str, argument: Path, folder: Path) -> str:
    """``start_script``, until it ends; what it prints."""
    started = start_script(script, argument, folder)
    printed, errors = started.communicate()
    assert started.returncode == 0, errors
    return printed.strip()


def start_script(script: str, argument: Path, folder: Path) -> subprocess.Popen[str]:
    """Run a Python script, which finds the path of the file in ``SYNC_FAILS``."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler makes a sync fail here")
    source, shim = folder / "shim.c", folder / "shim.so"
    source.write_text(_SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    path = folder / "script.py"
    path.write_text(script)
    environment = {
        **os.environ,
        "LD_PRELOAD": os.fspath(shim),
        "SYNC_FAILS": os.fspath(folder / "fails"),
    }
    command = [sys.executable, os.fspath(path), os.fspath(argument)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
