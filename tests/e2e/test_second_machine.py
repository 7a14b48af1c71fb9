"""A service with keys that another machine reaches: here another network namespace."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from network_namespaces import SERVER_ADDRESS, two_machines

from serendip.data.api_key import IssuedKey, issue_key
from serendip.data.store.tables.api_keys import ApiKeys

pytestmark = pytest.mark.browser

GET = """
import sys, urllib.error, urllib.request
address, key = sys.argv[1:]
headers = {"authorization": f"Bearer {key}"} if key else {}
try:
    answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""
"""Program of the other machine."""


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[list[str], list[str]]]:
    with two_machines() as both:
        yield both


@pytest.fixture(scope="module")
def workspace(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("reached") / "shop"))


@pytest.fixture(scope="module")
def key(workspace: Path) -> IssuedKey:
    issued = issue_key("", ["read", "read:users"])
    with closing(ApiKeys.open(workspace / "serendip.db")) as keys:
        keys.add(issued)
    return issued


@pytest.fixture(scope="module")
def address(
    machines: tuple[list[str], list[str]], workspace: Path, key: IssuedKey
) -> Iterator[str]:
    """Of ``serendip serve --host`` on the one machine, as the other one reaches it."""
    options = ["-w", os.fspath(workspace), "--host", SERVER_ADDRESS, "--port", "0"]
    command = [*machines[0], sys.executable, "-m", "serendip", "serve", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        line = ""
        while not line.startswith("Ready:"):
            line = process.stdout.readline()
            assert line, "the service ended before it was ready"
        yield line.split()[1]
        process.terminate()


@pytest.fixture(scope="module")
def browser_path(
    browser_path: Path,
    machines: tuple[list[str], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Chromium on the other machine."""
    path = tmp_path_factory.mktemp("browser") / "chromium"
    path.write_text(f'#!/bin/sh\nexec {" ".join(machines[1])} {browser_path} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def harmless() -> str:
    """Without TLS a browser ignores this header of a page, and says so."""
    return "Cross-Origin-Opener-Policy header has been ignored"


def test_another_machine_is_answered_with_a_key_and_refused_without_one(
    machines: tuple[list[str], list[str]], address: str, key: IssuedKey
) -> None:
    def get(path: str, text: str) -> tuple[int, Any]:
        command = [*machines[1], sys.executable, "-c", GET, address + path, text]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        status, _, body = done.stdout.partition(" ")
        return int(status), json.loads(body)

    assert address.startswith(f"http://{SERVER_ADDRESS}:")
    status, answer = get("/v1/search?q=horror", key.text)
    assert status == 200
    assert answer["items"]
    for wrong in ("", key.text[:-1]):
        status, answer = get("/v1/search?q=horror", wrong)
        assert (status, answer["error"]["type"]) == (401, "unauthenticated")


def test_a_browser_of_another_machine_sees_others_only_once_it_has_signed_in(
    address: str, open_page: Callable[..., Any], key: IssuedKey
) -> None:
    page = open_page(address)
    page.goto(f"{address}/?user=u1")
    assert page.evaluate("document.body.dataset.user") != "u1"
    assert page.locator(".picker").count() == 0
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Key").fill(key.text)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".picker summary").wait_for()
    page.goto(f"{address}/?user=u1")
    assert page.evaluate("document.body.dataset.user") == "u1"
    assert page.locator(".card").count()
