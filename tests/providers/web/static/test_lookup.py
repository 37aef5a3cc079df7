"""Which file a path leads to, and that none leads out of the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from piped.providers.web.static import lookup
from piped.providers.web.static.lookup import NoSuchFile, Root
from tests.providers.web.static.support import ask, routing_of, write

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/digits.txt", b"0123456789"),
        ("/digits.txt?v=2", b"0123456789"),
        ("/%64igits.txt", b"0123456789"),
        ("/", b"<h1>home</h1>"),
        ("/docs/", b"<h1>docs</h1>"),
        ("/docs/a%20b.txt", b"a b"),
        ("/bare/empty.bin", b""),
    ],
)
async def test_a_path_leads_to_a_file(folder: Path, target: str, body: bytes) -> None:
    answer = await ask(routing_of(folder), target)

    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize(
    "target",
    [
        "/none.txt",
        "/digits.txt/",
        "/digits.txt/more",
        "/bare/",
        "/bare",
        "/docs//index.html",
        "//digits.txt",
        "/./digits.txt",
        "/docs/../digits.txt",
        "/docs/%2e%2e/digits.txt",
        "/docs%2Findex.html",
        "/..%2Foutside%2Findex.html",
        "/../outside/index.html",
        "/..%5Coutside%5Cindex.html",
        "/docs%5Cindex.html",
        "/digits.txt%00",
        "/digits.txt%00.html",
        "/" + "a" * 300,
        "/" + "a/" * 1000,
        "/%FF%FE",
        "/.secret",
        "/.%73ecret",
        "/~root",
    ],
)
async def test_a_path_that_leads_to_none_is_404(folder: Path, target: str) -> None:
    answer = await ask(routing_of(folder), target)

    assert answer.status == 404


async def test_hidden_files_are_sent_if_the_document_says_so(folder: Path) -> None:
    answer = await ask(routing_of(folder, hidden=True), "/.secret")

    assert (answer.status, answer.body) == (200, b"secret")


async def test_what_is_well_known_is_not_hidden(folder: Path) -> None:
    (folder / ".well-known").mkdir()
    (folder / ".well-known" / "security.txt").write_text("me")

    answer = await ask(routing_of(folder), "/.well-known/security.txt")

    assert (answer.status, answer.body) == (200, b"me")


async def test_names_need_not_be_utf_8(folder: Path) -> None:
    write(folder / os.fsdecode(b"caf\xe9.txt"), b"coffee")

    answer = await ask(routing_of(folder), "/caf%E9.txt")

    assert (answer.status, answer.body) == (200, b"coffee")


@pytest.fixture
def links(folder: Path) -> Path:
    (folder / "out").symlink_to("../outside")
    (folder / "out.html").symlink_to("../outside/index.html")
    (folder / "absolute").symlink_to(folder.parent / "outside")
    (folder / "current").symlink_to("docs")
    (folder / "same.txt").symlink_to(folder / "digits.txt")
    (folder / "here").symlink_to(".")
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    (folder / "..data").symlink_to("docs")
    (folder / "mounted.html").symlink_to("..data/index.html")
    return folder


@pytest.mark.parametrize(
    ("target", "inside", "anywhere"),
    [
        ("/out/index.html", 404, 200),
        ("/out/", 404, 200),
        ("/out", 404, 308),
        ("/out.html", 404, 200),
        ("/absolute/index.html", 404, 200),
        ("/current/index.html", 200, 200),
        ("/same.txt", 200, 200),
        ("/here/here/digits.txt", 200, 200),
        ("/here/", 200, 200),
        ("/mounted.html", 200, 200),
        ("/..data/index.html", 404, 404),
        ("/loop", 404, 404),
        ("/broken", 404, 404),
    ],
)
async def test_links_stay_inside_unless_the_document_says_so(
    links: Path, target: str, inside: int, anywhere: int
) -> None:
    answers = [
        await ask(routing_of(links, follow_links=follow), target) for follow in (False, True)
    ]

    assert [each.status for each in answers] == [inside, anywhere]


async def test_a_folder_beside_with_a_longer_name_is_outside(folder: Path) -> None:
    beside = folder.parent / "public-not"
    beside.mkdir()
    (beside / "index.html").write_text("no")
    (folder / "beside").symlink_to(beside)

    answer = await ask(routing_of(folder), "/beside/index.html")

    assert answer.status == 404


async def test_the_folder_itself_may_be_a_link_that_changes(folder: Path) -> None:
    current = folder.parent / "current"
    current.symlink_to(folder)
    before = await ask(routing_of(current), "/")
    current.unlink()
    current.symlink_to(folder.parent / "outside")
    after = await ask(routing_of(current), "/")

    assert (before.body, after.body) == (b"<h1>home</h1>", b"outside")


def test_what_becomes_a_link_after_it_was_looked_at_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = Root._resolved

    def exchange(root: Root, segments: Any) -> Any:
        found = looked_at(root, segments)
        (folder / "docs").rename(folder / "old")
        (folder / "docs").symlink_to("../outside")
        return found

    (folder / "current").symlink_to("docs")
    monkeypatch.setattr(Root, "_resolved", exchange)
    with pytest.raises(NoSuchFile) as caught:
        Root(str(folder), follow_links=False, hidden=False).open(["current", "index.html"])

    assert str(caught.value) == "'current/index.html': not a directory"


async def test_pipes_sockets_and_devices_are_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    os.mknod(folder / "socket", stat.S_IFSOCK | 0o600)

    answers = [
        await ask(routing_of(folder, follow_links=True), f"/{name}")
        for name in ("pipe", "socket", "device")
    ]

    assert [each.status for each in answers] == [404, 404, 404]


def test_what_becomes_a_pipe_after_it_was_looked_at_is_not_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, check = folder / "digits.txt", lookup._fail_if_special

    def exchange(name: str, facts: os.stat_result) -> None:
        check(name, facts)
        file.unlink()
        os.mkfifo(file)

    monkeypatch.setattr(lookup, "_fail_if_special", exchange)
    with pytest.raises(NoSuchFile) as caught:
        Root(str(folder), follow_links=False, hidden=False).open(["digits.txt"])

    assert str(caught.value) == "'digits.txt' is neither a file nor a folder"


NAMES = ["", ".", "..", "/", "a", "b", "deep", "up", "root", "top", "self", "a/b", "..\0", "\\"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES) | st.text(max_size=3), max_size=6), st.booleans())
def test_no_path_leads_out_of_the_folder(segments: list[str], hidden: bool) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        for file in (folder / "a" / "b", folder / "a" / "deep" / "b", Path(name) / "b"):
            write(file, b"")
        for link, target in (("up", ".."), ("root", "/"), ("top", "../../folder"), ("self", ".")):
            (folder / "a" / link).symlink_to(target)
        inside = {folder, *folder.rglob("*")} - {folder / "a" / "up", folder / "a" / "root"}
        known = [os.stat(each) for each in inside]

        try:
            opened = Root(str(folder), follow_links=False, hidden=hidden).open(segments)
        except NoSuchFile:
            return
        opened.close()

    assert any(os.path.samestat(opened.facts, each) for each in known)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (
            PermissionError(13, "Permission denied"),
            403,
            "NotReadable: 'digits.txt': permission denied",
        ),
        (OSError(24, "Too many open files"), 503, ""),
        (OSError(5, "Input/output error"), 500, "OSError: [Errno 5] Input/output error"),
    ],
)
async def test_an_error_of_the_system_has_its_status_and_is_logged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, status: int, reason: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(lookup, "_open", refuse)
    with capture_logs() as logs:
        answer = await ask(routing_of(folder), "/digits.txt")

    assert answer.status == status
    assert [each.get("error", "") for each in logs if "request" in each["event"]] == [reason]
