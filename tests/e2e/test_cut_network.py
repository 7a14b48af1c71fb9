import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from network_namespaces import SERVER_ADDRESS, two_machines
from postgres_server import PostgresServer

PORT = 5432

FORWARD = """
import socket, sys, threading

def copy(source, target):
    while data := source.recv(65536):
        target.sendall(data)

address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.create_server((address, port)) as listener:
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=copy, args=pair, daemon=True).start()
"""
"""Program of the server's machine: leads its port to the socket of a server."""

READ = """
import json, sys, time
from contextlib import closing
from pathlib import Path
from serendip.data.store.store import Store
from serendip.errors import SerendipError

with closing(Store.open(sys.argv[1])) as store:
    number = store.database.commit_number()
    print("connected", flush=True)
    sys.stdin.readline()
    begin, answers = time.monotonic(), []
    answers.append(store.database.commit_number())
    for _ in range(9):
        try:
            answers.append(store.log.count())
        except SerendipError as error:
            answers.append(error.message)
    print(json.dumps({"seconds": time.monotonic() - begin, "answers": answers}), flush=True)
"""
"""Program of the client's machine: reads before the cable is pulled and after it."""


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def test_reads_end_in_the_documented_error_soon_after_the_cable_is_pulled(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.url_over_network(postgres_server.empty_url(), SERVER_ADDRESS, PORT)
    place = f"{url}&tcp_user_timeout=1000&connect_timeout=2"
    python, port = [sys.executable, "-c"], str(PORT)
    with two_machines() as (server, client):
        lead = [*server, *python, FORWARD, SERVER_ADDRESS, port, os.fspath(postgres_server.socket)]
        read = [*client, *python, READ, place]
        with started(lead) as forwarder:
            assert read_line(forwarder) == "ready"
            with started(read) as reader:
                assert read_line(reader) == "connected"
                pull = ["ip", "link", "set", "cable", "down"]
                subprocess.run([*server, *pull], check=True)
                reader.stdin.write("read\n")
                reader.stdin.flush()
                result: dict[str, Any] = json.loads(read_line(reader))
    number, *answers = result["answers"]
    assert number is None
    assert answers == ["database postgres: its server cannot be reached, or refuses the login."] * 9
    assert result["seconds"] < 20  # without a time of its own the kernel tries for a quarter hour
