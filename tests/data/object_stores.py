"""A bucket of a real server of the S3 protocol, for tests."""

import os
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "shop"


@contextmanager
def s3_server() -> Iterator[str]:
    """A running server that the environment names; yields the URL of a prefix in a bucket."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        request = urllib.request.Request(f"http://{host}:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        # A prefix of its own: clients are kept by URL for as long as the process lives.
        yield f"s3://{BUCKET}/{secrets.token_hex(4)}"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()
