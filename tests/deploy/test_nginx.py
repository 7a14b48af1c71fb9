import http.client
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ray_nodes import free_port

from serendip.data.api_key import issue_key
from serendip.data.store.store import Store
from serendip.data.store.tables.api_keys import ApiKeys

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "serve" / "tiny_server.py"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
NAME = "shop.example.com"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def write_certificate(folder: Path) -> None:
    """A certificate that nobody signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)


def write_configuration(folder: Path, service: int, plain: int, tls: int) -> Path:
    """The file of ``deploy`` with the ports and paths of this test, and short times."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    text = re.sub(r"listen \[::\].*\n", "", text)
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl;"),
        ("127.0.0.1:8080", f"127.0.0.1:{service}"),
        ("/etc/ssl/certs/shop.example.com.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/private/shop.example.com.key", f"{folder}/key.pem"),
        ("client_header_timeout 10s", "client_header_timeout 1s"),
        ("client_body_timeout 10s", "client_body_timeout 1s"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"pid {folder}/pid; error_log {folder}/errors; daemon off; worker_processes 1;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{text}}}\n"
    )
    return path


class Proxied:
    """A service behind nginx."""

    def __init__(self, plain: int, tls: int, key: str) -> None:
        self.plain, self.tls, self.key = plain, tls, key
        self.context = ssl._create_unverified_context()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.tls, timeout=30, context=self.context
        )
        with closing(connection):
            connection.request(method, path, body, {"Host": NAME, **headers})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read()

    def connect(self) -> ssl.SSLSocket:
        return self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.tls), 30))


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    assert NGINX is not None
    folder = tmp_path_factory.mktemp("nginx")
    issued = issue_key("", ["read", "write"])
    with closing(Store.create(folder / "serendip.db")):
        pass
    with closing(ApiKeys.open(folder / "serendip.db")) as keys:
        keys.add(issued)
    command = [sys.executable, str(SERVER), "0", "--keys", str(folder / "serendip.db")]
    command += ["--allowed-host", NAME, "--trusted-proxy", "127.0.0.1"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = urlsplit(service.stdout.readline().split()[1]).port or 0
    assert service.stdout.readline().startswith("ready")
    write_certificate(folder)
    plain, tls = free_port(), free_port()
    path = write_configuration(folder, port, plain, tls)
    subprocess.run([NGINX, "-p", str(folder), "-c", str(path), "-t"], check=True)
    nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(path)])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", tls)) == 0:
                    break
            time.sleep(0.05)
        yield Proxied(plain, tls, f"Bearer {issued.text}")
    finally:
        for process in (nginx, service):
            process.terminate()
            process.wait(timeout=30)
        service.stdout.close()


def test_answers_pass_and_cookies_are_secure(proxied: Proxied) -> None:
    status, headers, body = proxied.ask(
        "GET", "/v1/search?q=film", Authorization=proxied.key, **{"Accept-Encoding": "gzip"}
    )
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert headers["strict-transport-security"]
    assert body
    status, headers, _ = proxied.ask("GET", "/")
    assert status == 200
    assert "Secure" in headers["set-cookie"]


def test_http_leads_to_https(proxied: Proxied) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", proxied.plain, timeout=30)) as plain:
        plain.request("GET", "/search?q=a", headers={"Host": NAME})
        answer = plain.getresponse()
    assert (answer.status, answer.headers["location"]) == (301, f"https://{NAME}/search?q=a")


def test_a_body_has_a_size_and_metrics_are_not_for_others(proxied: Proxied) -> None:
    body = b" " * (8 * 1024**2 + 1)
    assert proxied.ask("POST", "/v1/events", body, Authorization=proxied.key)[0] == 413
    event = b'{"user_id": "u", "item_id": "f1"}'
    assert proxied.ask("POST", "/v1/events", event, Authorization=proxied.key)[0] == 200
    assert proxied.ask("GET", "/metrics", Authorization=proxied.key)[0] == 403


@pytest.mark.parametrize(
    "start",
    [
        f"GET / HTTP/1.1\r\nHost: {NAME}\r\nX: ",
        f"POST /v1/events HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 900\r\n\r\n{{",
    ],
)
def test_a_slow_client_is_cut_off(proxied: Proxied, start: str) -> None:
    began = time.monotonic()
    with proxied.connect() as connection:
        connection.sendall(start.encode())
        answer = connection.recv(65536)
    assert answer == b"" or b" 408 " in answer
    assert time.monotonic() - began < 20


def test_too_many_requests_of_one_address_are_refused(proxied: Proxied) -> None:
    statuses = [proxied.ask("GET", "/static/page.css")[0] for _ in range(2)]
    assert statuses == [200, 200]
    with proxied.connect() as connection:
        ask = f"GET /health/live HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
        connection.sendall(ask * 300)
        connection.settimeout(5)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 300:
            answers += connection.recv(1 << 16)
    assert 90 <= answers.count(b"HTTP/1.1 200") < 300
    assert answers.count(b"HTTP/1.1 429") > 0
