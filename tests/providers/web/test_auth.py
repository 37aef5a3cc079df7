from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document import Secret
from piped.providers.web import Request, passwords
from piped.providers.web.passwords import Hash
from tests.providers.web.support import Answer, cheap, problems_of, request_bytes, serving

pytestmark = pytest.mark.anyio


def basic(text: str) -> str:
    return f"authorization: Basic {b64encode(text.encode()).decode()}"


def say_who(request: Request) -> None:
    request.answer(f"<{request.user}>".encode())


def guarded(**auth: Any) -> dict[str, Any]:
    return {"__config__": {"processor": "pipeline.root", "auth": auth}}


async def ask(routing: dict[str, Any], *headers: str, target: str = "/", **site: Any) -> Answer:
    async with serving(say_who, routing, **site) as served:
        client = await served.connect()
        answer = await client.get(target, *headers)
        client.close()
    return answer


@pytest.mark.parametrize(
    ("bearer", "header", "user"),
    [
        ("t0ken", "authorization: Bearer t0ken", ""),
        ("t0ken", "AUTHORIZATION: bearer  t0ken ", ""),
        (["other", "t0ken"], "authorization: Bearer t0ken", ""),
        ({"ann": "other", "bob": "t0ken"}, "authorization: Bearer t0ken", "bob"),
        (Secret("t0ken"), "authorization: Bearer t0ken", ""),
        ([Secret("t0ken")], "authorization: Bearer t0ken", ""),
        ({"bob": Secret("t0ken")}, "authorization: Bearer t0ken", "bob"),
    ],
)
async def test_a_token_lets_pass(bearer: Any, header: str, user: str) -> None:
    answer = await ask(guarded(bearer=bearer), header)

    assert (answer.status, answer.body) == (200, f"<{user}>".encode())


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ([], 'Bearer realm="site"'),
        (["authorization: Bearer"], 'Bearer realm="site", error="invalid_token"'),
        (["authorization: Bearer wrong"], 'Bearer realm="site", error="invalid_token"'),
        (["authorization: Bearer t0ken2"], 'Bearer realm="site", error="invalid_token"'),
        (["authorization: Bearer \xff"], 'Bearer realm="site", error="invalid_token"'),
        (["authorization: t0ken"], 'Bearer realm="site"'),
        ([basic("ann:t0ken")], 'Bearer realm="site"'),
        (
            ["authorization: Bearer t0ken", "authorization: Bearer t0ken"],
            'Bearer realm="site", error="invalid_token"',
        ),
    ],
)
async def test_who_has_no_right_token_is_401(headers: list[str], challenge: str) -> None:
    with capture_logs() as logs:
        answer = await ask(guarded(bearer="t0ken"), *headers)

    assert (answer.status, answer.headers["www-authenticate"]) == (401, challenge)
    assert json.loads(answer.body)["title"] == "Unauthorized"
    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert (line["log_level"], line["status"]) == ("info", 401)
    assert "t0ken" not in str(logs)


async def test_a_name_and_a_password_let_pass_again_and_again() -> None:
    async with serving(say_who, guarded(basic={"ann": str(cheap("pass: wörd"))})) as served:
        client = await served.connect()
        answers = [await client.get("/", basic("ann:pass: wörd")) for _ in range(3)]
        client.close()

    assert [each.body for each in answers] == [b"<ann>"] * 3


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [basic("ann:wrong")],
        [basic("eve:secret")],
        [basic("ann")],
        [basic(":secret")],
        [basic("ann:" + "x" * 2000)],
        ["authorization: Basic"],
        ["authorization: Basic ???"],
        ["authorization: Basic /w=="],
        ["authorization: Bearer secret"],
    ],
)
async def test_who_has_no_right_password_is_401(headers: list[str]) -> None:
    answer = await ask(guarded(basic={"ann": str(cheap("secret"))}), *headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="site", charset="UTF-8"'


async def test_a_right_password_is_computed_once_for_all_nodes_that_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[str] = []
    matches = Hash.matches

    def counted(self: Hash, password: str) -> bool:
        computed.append(password)
        return matches(self, password)

    monkeypatch.setattr(Hash, "matches", counted)
    auth = {"basic": {"ann": str(cheap("secret"))}}
    async with serving(say_who, {**guarded(**auth), "a": guarded(**auth)}) as served:
        client = await served.connect()
        answers = [await client.get(target, basic("ann:secret")) for target in ("/", "/a")]
        client.close()

    assert [each.body for each in answers] == [b"<ann>"] * 2
    assert computed == ["secret"]


async def test_a_pipeline_that_waits_runs_for_a_verified_user() -> None:
    async def pipeline(request: Request) -> None:
        request.answer(request.user.encode())

    async with serving(pipeline, guarded(basic={"ann": str(cheap("secret"))})) as served:
        client = await served.connect()
        answers = [await client.get("/", basic("ann:secret")) for _ in range(2)]
        client.close()

    assert [each.body for each in answers] == [b"ann", b"ann"]


async def test_an_error_behind_a_password_is_answered_as_elsewhere() -> None:
    def pipeline(request: Request) -> None:
        raise ValueError("no")

    routing = guarded(basic={"ann": str(cheap("secret"))})
    async with serving(pipeline, routing, errors={"ValueError": 422}) as served:
        client = await served.connect()
        answer = await client.get("/", basic("ann:secret"))
        client.close()

    assert answer.status == 422


async def test_too_many_passwords_are_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "AT_ONCE", 0)
    monkeypatch.setattr(passwords, "WAITING", 0)

    answer = await ask(guarded(basic={"ann": str(cheap("secret"))}), basic("ann:secret"))

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_token_or_a_password_suffices_where_both_are_asked_for() -> None:
    routing = guarded(bearer="t0ken", basic={"ann": str(cheap("secret"))})
    async with serving(say_who, routing) as served:
        client = await served.connect()
        by_token = await client.get("/", "authorization: Bearer t0ken")
        by_password = await client.get("/", basic("ann:secret"))
        await client.send(request_bytes("/", "connection: close"))
        neither = await client.rest()
        client.close()

    assert (by_token.body, by_password.body) == (b"<>", b"<ann>")
    assert b'www-authenticate: Basic realm="site", charset="UTF-8"\r\n' in neither
    assert b'www-authenticate: Bearer realm="site"\r\n' in neither


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        (["127.0.0.1"], 200),
        (["10.0.0.0/8", "127.0.0.0/8"], 200),
        (["localhost"], 200),
        (["10.0.0.0/8"], 403),
        (["::1", "2001:db8::/32"], 403),
    ],
)
async def test_clients_of_other_addresses_are_403(allowed: list[str], status: int) -> None:
    answer = await ask(guarded(ip_allow=allowed))

    assert answer.status == status


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("::ffff:10.1.2.3", 200),
        ("fe80::1%eth0", 200),
        ("10.1.2.3", 200),
        ("11.1.2.3", 403),
        ("", 403),
        ("unix:", 403),
    ],
)
async def test_an_address_is_compared_in_its_usual_form(client: str, status: int) -> None:
    routing = guarded(ip_allow=["10.0.0.0/8", "fe80::/10"])
    async with serving(say_who, routing) as served:
        router = served.server.dispatcher.router
        request = Request()
        request.client_ip, request.method, request._target = client, "GET", b"/"
        answered: list[int] = []
        request._way = Taker(answered)  # type: ignore[assignment] # it takes the status only
        served.server.dispatcher.dispatch(request)

    assert router.exact[b"/"][0].rules.auth is not None
    assert answered == [status]


class Taker:
    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses

    def respond(self, request: Request, body: bytes) -> None:
        self.statuses.append(request.status)


TREE = {
    "__config__": {"processor": "pipeline.root"},
    "open": {
        "__config__": {"processor": "pipeline.root", "auth": {"public": True}},
        "deep": {"__config__": {"processor": "pipeline.root"}},
    },
    "own": {"__config__": {"processor": "pipeline.root", "auth": {"bearer": "own"}}},
    "near": {"__config__": {"processor": "pipeline.root", "auth": {"ip_allow": ["10.0.0.1"]}}},
}


@pytest.mark.parametrize(
    ("target", "token", "status"),
    [
        ("/", "site", 200),
        ("/", "own", 401),
        ("/open", "", 200),
        ("/open/deep", "", 200),
        ("/own", "own", 200),
        ("/own", "site", 401),
        ("/near", "site", 403),
        ("/nope", "", 404),
    ],
)
async def test_a_node_says_otherwise_than_those_above(target: str, token: str, status: int) -> None:
    header = f"authorization: Bearer {token}"

    answer = await ask(TREE, header, target=target, auth={"bearer": "site"})

    assert answer.status == status


async def test_a_node_with_credentials_of_its_own_keeps_the_addresses_from_above() -> None:
    site = {"bearer": "site", "ip_allow": ["10.0.0.1"]}

    answer = await ask(TREE, "authorization: Bearer own", target="/own", auth=site)

    assert answer.status == 403


async def test_a_request_that_may_not_pass_reaches_no_pipeline_by_any_method() -> None:
    config = {"processor": "pipeline.root", "auth": {"bearer": "x"}, "methods": ["GET"]}
    async with serving(say_who, {"__config__": config}) as served:
        client = await served.connect()
        statuses = []
        for method in ("GET", "POST", "OPTIONS"):
            await client.send(request_bytes(method=method))
            statuses.append((await client.answer()).status)
        client.close()

    assert statuses == [401, 401, 401]
    assert served.pipeline.seen == []


AUTH = "web.site.routing.__config__.auth"


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        (
            {},
            f"{AUTH}: wrong-value: expected one of 'basic', 'bearer', 'ip_allow' and 'public'",
        ),
        (
            {"public": True, "bearer": "x"},
            f"{AUTH}: wrong-value: expected nothing beside 'public: true'",
        ),
        ({"bearer": []}, f"{AUTH}.bearer: wrong-value: expected at least one, got []"),
        ({"basic": {}}, f"{AUTH}.basic: wrong-value: expected at least one, got {{}}"),
        (
            {"bearer": ["ok", "not ok"]},
            f"{AUTH}.bearer[1]: wrong-value:"
            " expected a token of letters, digits and -._~+/= (RFC 6750), got other signs",
        ),
        (
            {"bearer": {"ann": "\xff"}},
            f"{AUTH}.bearer.ann: wrong-value:"
            " expected a token of letters, digits and -._~+/= (RFC 6750), got other signs",
        ),
        (
            {"basic": {"ann": "secret"}},
            f"{AUTH}.basic.ann: wrong-value:"
            " expected a hash such as $scrypt$ln=15,r=8,p=1$..., got other text"
            " (make one by 'piped hash-password')",
        ),
        (
            {"basic": {"a:b": str(cheap("x"))}},
            f"{AUTH}.basic.a:b: wrong-value: expected a name without ':', got 'a:b'",
        ),
        (
            {"ip_allow": ["localhost", "10.0.0.1/8"]},
            f"{AUTH}.ip_allow[1]: wrong-value:"
            " expected an address or a network: 10.0.0.1/8 has host bits set",
        ),
        (
            {"bearers": "x"},
            f"{AUTH}.bearers: unknown-parameter: auth has no parameter 'bearers' (did you mean"
            " 'bearer'? known: basic, bearer, ip_allow, public)",
        ),
    ],
)
async def test_what_is_wrong_with_a_guard_is_said(auth: Any, problem: str) -> None:
    assert problems_of(routing=guarded(**auth)) == [problem]


async def test_what_is_wrong_with_the_guard_of_a_site_is_said() -> None:
    (problem,) = problems_of(routing={}, auth={"bearer": ""})

    assert problem == "web.site.auth.bearer: wrong-value: expected at least one, got ''"
