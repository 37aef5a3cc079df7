"""Who a service says it is to real servers, in each way there is; nobody else hears of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from structlog.testing import capture_logs

from piped.app import Service
from piped.resources.supervisor import EssentialFailed
from tests.conftest import Told
from tests.providers.nats.accounts import Key, Operator
from tests.providers.nats.conftest import Server
from tests.stories.processes import Processes, processes

pytestmark = pytest.mark.anyio

Ask = Callable[..., Any]
Serve = Callable[..., Server]

SECRET: Final = "open-sesame-4711"
SEED: Final = f"SU{'A' * 56}"
CANNOT: Final = "'nats.main' cannot connect: "
NO_SEED: Final = "the seed of a user, 'SU' and 56 letters and digits"
NO_CREDENTIALS: Final = "the JWT and the seed of a user, as nsc writes them"

SERVICE: Final = """
nats:
  connections:
    main: {{servers: "{servers}", {more}}}
  subjects:
    double: {{subject: double, processor: pipeline.double, format: json}}
pipelines:
  double: [map: {{lambda: "baton: baton['message'] * 2"}}]
  ask: [request-nats: {{subject: double, format: json, input_path: '', output_path: ''}}]
"""


@pytest.fixture
def start() -> Iterator[Processes]:
    yield from processes()


@pytest.fixture
def ask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Ask:
    """Run a service that doubles a number over a server; return the answer and all that is logged.

    What keeps it from starting is raised.
    """

    async def ask(servers: str, more: str = "") -> tuple[Any, str]:
        path = tmp_path / "service.yaml"
        path.write_text(SERVICE.format(servers=servers, more=more))
        caplog.set_level(logging.DEBUG)
        with capture_logs() as lines:
            async with Service.load(path) as service:
                answer = await service.call("ask", 21)
        return answer, f"{lines}{caplog.text}"

    return ask


async def refused(ask: Ask, servers: str, more: str = "") -> str:
    """Return why a service does not start, and will not if it is tried again."""
    with capture_logs() as lines, pytest.raises(EssentialFailed) as caught:
        await ask(servers, more)
    told = f"{caught.value}{lines}"
    assert SECRET not in told
    return str(caught.value).removeprefix("nats.main: ")


async def test_a_password_lets_in(serve: Serve, ask: Ask) -> None:
    server = serve(f"authorization {{ user: ada, password: {SECRET} }}")

    answer, logs = await ask(server.url, f"user: ada, password: {SECRET}")
    wrong = await refused(ask, server.url, "user: ada, password: simsim")
    none = await refused(ask, server.url)

    assert (answer, SECRET in logs) == ([42], False)
    assert wrong == CANNOT + "the server refuses its 'user' and 'password': authorization violation"
    assert none == CANNOT + "the server asks who it is, and it does not say so"


async def test_a_password_in_a_url_lets_in(serve: Serve, ask: Ask) -> None:
    server = serve(f"authorization {{ user: ada, password: {SECRET} }}")
    with_password = server.url.replace("//", "//ada:{}@").format

    answer, logs = await ask(with_password(SECRET))
    wrong = await refused(ask, with_password("simsim"))

    assert (answer, SECRET in logs) == ([42], False)
    assert (
        wrong
        == CANNOT + "the server refuses its user or token in 'servers': authorization violation"
    )


async def test_a_token_lets_in(serve: Serve, ask: Ask) -> None:
    server = serve(f"authorization {{ token: {SECRET} }}")

    answer, logs = await ask(server.url, f"token: {SECRET}")
    wrong = await refused(ask, server.url, "token: simsim")

    assert (answer, SECRET in logs) == ([42], False)
    assert wrong == CANNOT + "the server refuses its 'token': authorization violation"


async def test_an_nkey_lets_in(serve: Serve, ask: Ask, tmp_path: Path) -> None:
    user = Key.of_user()
    server = serve(f"authorization {{ users: [{{nkey: {user.public}}}] }}")
    right, other = tmp_path / "right.nk", tmp_path / "other.nk"
    right.write_text(f"\n{user.seed}\r\n")
    other.write_text(Key.of_user().seed)

    answer, logs = await ask(server.url, f"nkey: {right}")
    wrong = await refused(ask, server.url, f"nkey: {other}")

    assert (answer, user.seed in logs) == ([42], False)
    assert wrong == CANNOT + "the server refuses its 'nkey': authorization violation"


async def test_credentials_of_nsc_let_in(serve: Serve, ask: Ask, tmp_path: Path) -> None:
    operator, user = Operator(), Key.of_user()
    server = serve(operator.config)
    right, other, old = (tmp_path / f"{each}.creds" for each in ("right", "other", "old"))
    right.write_text(operator.credentials(user))
    other.write_text(operator.credentials(user, signs=Key.of_user()))
    old.write_text(operator.credentials(user, expires=2))

    answer, logs = await ask(server.url, f"credentials: {right}")
    wrong = [await refused(ask, server.url, f"credentials: {each}") for each in (other, old)]

    assert (answer, user.seed in logs) == ([42], False)
    assert (
        wrong
        == [
            CANNOT + "the server refuses its 'credentials': authorization violation",
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("nkey", SECRET, NO_SEED),
        ("nkey", f"{SEED}{SECRET}", NO_SEED),
        ("nkey", "", NO_SEED),
        ("credentials", SECRET, NO_CREDENTIALS),
        ("credentials", SEED, NO_CREDENTIALS),
        ("credentials", f"-----BEGIN NATS USER JWT-----\n{SECRET}", NO_CREDENTIALS),
    ],
)
async def test_a_file_with_something_else_in_it_is_not_used(
    ask: Ask, tmp_path: Path, key: str, text: str, reason: str
) -> None:
    file = tmp_path / "file"
    file.write_text(text)

    found = await refused(ask, "127.0.0.1:1", f"{key}: {file}")

    assert found == f"expected {reason}, in the file of '{key}', '{file}'"


@pytest.mark.parametrize(
    ("file", "path", "reason"),
    [
        ("/nowhere/at.all", "/nowhere/at.all", "no such file or directory"),
        (r'"/nowhere\0"', "/nowhere\0", "embedded null byte"),
    ],
)
async def test_a_file_that_cannot_be_there_is_told(
    ask: Ask, file: str, path: str, reason: str
) -> None:
    found = await refused(ask, "127.0.0.1:1", f"credentials: {file}")

    assert found == f"cannot read the file of 'credentials', '{path}': {reason}"


class Certificates:
    """A server's and a client's, in files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._own, self._strange = folder, trustme.CA(), trustme.CA()
        self.ca = self._write("ca", self._own.cert_pem)
        self.strange_ca = self._write("strange-ca", self._strange.cert_pem)
        self.server = self._issued(self._own, "127.0.0.1")

    def client(self, *, is_strange: bool = False) -> tuple[Path, Path]:
        return self._issued(self._strange if is_strange else self._own, "ada@piped.test")

    def _issued(self, by: trustme.CA, whom: str) -> tuple[Path, Path]:
        made = by.issue_cert(whom)
        name = f"{whom}-{'own' if by is self._own else 'strange'}"
        cert = self._write(name, made.cert_chain_pems[0])
        return cert, self._write(f"{name}-key", made.private_key_pem)

    def _write(self, name: str, blob: trustme.Blob) -> Path:
        path = self._folder / f"{name}.pem"
        blob.write_to_path(path)
        return path


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def tls_of(certificates: Certificates, more: str = "") -> str:
    """Return the configuration of a server that encrypts."""
    cert, key = certificates.server
    return f'tls {{ cert_file: "{cert}", key_file: "{key}", {more} }}'


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_server_with_a_certificate_is_trusted(
    serve: Serve, ask: Ask, certificates: Certificates, scheme: str
) -> None:
    server = serve(f"{tls_of(certificates)}\nauthorization {{ token: {SECRET} }}")
    url = server.url.replace("nats", scheme)

    answer, logs = await ask(url, f"token: {SECRET}, tls: {{ca: {certificates.ca}}}")

    assert (answer, SECRET in logs) == ([42], False)


async def test_a_server_that_nobody_vouches_for_is_told_nothing(
    serve: Serve, ask: Ask, certificates: Certificates
) -> None:
    server = serve(tls_of(certificates))
    told = f"token: {SECRET}, tls: {{ca: %s}}"

    strange = await refused(ask, server.url, told % certificates.strange_ca)
    misnamed = await refused(
        ask, server.url.replace("127.0.0.1", "localhost"), told % certificates.ca
    )

    failed = CANNOT + "certificate verify failed: "
    assert strange == f"{failed}unable to get local issuer certificate"
    assert misnamed == f"{failed}hostname mismatch, certificate is not valid for 'localhost'"


async def test_a_certificate_of_our_own_lets_in(
    serve: Serve, ask: Ask, certificates: Certificates
) -> None:
    server = serve(tls_of(certificates, f'ca_file: "{certificates.ca}", verify: true'))
    cert, key = certificates.client()

    answer, _ = await ask(server.url, f"tls: {{ca: {certificates.ca}, cert: {cert}, key: {key}}}")

    assert answer == [42]


async def test_files_of_tls_that_do_not_fit_are_told(ask: Ask, certificates: Certificates) -> None:
    (cert, _), (_, key) = certificates.client(), certificates.client(is_strange=True)

    unfit = await refused(ask, "127.0.0.1:1", f"tls: {{cert: {cert}, key: {key}}}")
    missing = await refused(ask, "127.0.0.1:1", "tls: {ca: /nowhere/at.all}")

    assert unfit == "cannot use the files of 'tls': key values mismatch"
    assert missing == "cannot use the files of 'tls': no such file or directory"


@pytest.mark.parametrize(("key", "column"), [("nkey", 35), ("credentials", 42)])
def test_keys_without_their_library_are_told(
    told: Told, monkeypatch: pytest.MonkeyPatch, key: str, column: int
) -> None:
    monkeypatch.setattr("piped.providers.nats.settings.find_spec", lambda _name: None)

    [found] = told(f"nats: {{connections: {{main: {{{key}: ada}}}}}}")

    assert found.splitlines()[:2] == [
        f"service.yaml:1:{column}: error[not-installed]: the library 'nkeys' is not installed",
        f"    at: nats.connections.main.{key}",
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"http://ada:{SECRET}@a.test", "http://***@a.test"),
        (rf"nats://ada:{SECRET}\n@a.test", "nats://***@a.test"),  # as it comes from a file
        (f"{SECRET}@a.test//b", "nats://***@a.test//b"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(told: Told, url: str, shown: str) -> None:
    found = told(f'nats: {{connections: {{main: {{servers: "{url}"}}}}}}')

    assert found == [
        "service.yaml:1:38: error[wrong-value]: expected a URL such as nats://127.0.0.1:4222, got"
        f" '{shown}'\n"
        "    at: nats.connections.main.servers"
    ]


def test_a_process_keeps_the_secret_for_itself(
    serve: Serve, start: Processes, tmp_path: Path
) -> None:
    server = serve(f"authorization {{ user: ada, password: {SECRET} }}")
    document = tmp_path / "service.yaml"
    more = "user: ada, password: !secret NATS_PASSWORD"
    document.write_text(SERVICE.format(servers=server.url, more=more))

    shown = start("render", "service.yaml", cwd=tmp_path, NATS_PASSWORD=SECRET)
    shown.ended()
    running = start("run", "-v", "service.yaml", cwd=tmp_path, NATS_PASSWORD=SECRET).started()
    code = running.terminated()
    wrong = start("run", "-v", "service.yaml", cwd=tmp_path, NATS_PASSWORD=f"x{SECRET}")
    code_of_wrong = wrong.ended()

    assert "password: '***'" in shown.stdout
    assert SECRET not in "".join(each.stdout + each.stderr for each in (shown, running, wrong))
    assert (code, code_of_wrong) == (0, 3)
    assert "the server refuses its 'user' and 'password': authorization violation" in wrong.stderr
