"""Where a site listens: how it is written, and the sockets that come of it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from dataclasses import dataclass, field, replace
from typing import Final

from piped.errors import Misconfigured
from piped.providers.web.proxies import is_loopback

BACKLOG: Final = 512
UNIX_MODE: Final = 0o660
"""Who may connect to a unix socket: its owner, and its group."""

_STRPORT: Final = re.compile(r"tcp6?:(?P<port>\d+)(?::interface=(?P<host>[^:]*|[0-9a-fA-F\\:]+))?")
_UNIX: Final = re.compile(r"unix:(?P<path>[^:]+)(?::mode=(?P<mode>[0-7]{3,4}))?")
_PAIR: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Address:
    """One place to listen at; port 0 is any free one."""

    host: str
    port: int
    is_optional: bool = False  # nothing is said where the machine has no such address
    path: str = ""  # of a unix socket
    mode: int = UNIX_MODE  # who may connect to it
    inode: int = field(default=0, compare=False)  # of its file, once it is there

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """A URL that a browser on this machine can open; of a unix socket, what was written."""
        if self.path:
            return str(self)
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104 - it was written
        return f"http://{host}:{self.port}/" if host else f"http://{self}/"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return bool(self.path) or is_loopback(self.host)


def on_loopback(port: int) -> list[Address]:
    """Return the addresses of a port on this machine only."""
    return [Address("127.0.0.1", port), Address("::1", port, is_optional=True)]


def read_address(text: str) -> list[Address]:
    """Return the addresses that a text stands for.

    That is ``0.0.0.0:8080``, ``[::1]:80``, ``unix:/run/site.sock:mode=660``, or, as the ancestor
    had it, ``tcp:8080:interface=127.0.0.1``.

    Raises:
        ValueError: It is none of these.
    """
    if text.startswith("unix:"):
        return [_unix_address(text)]
    match = _STRPORT.fullmatch(text) or _PAIR.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an address such as 0.0.0.0:8080 or [::1]:8080, got {text!r}")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"expected a port up to 65535, got {text!r}")
    groups = match.groupdict()
    host = (groups.get("six") or groups.get("host") or "").replace("\\", "")
    if not host and not text.startswith("tcp"):
        raise ValueError(f"expected a host before the port, got {text!r}: all are 0.0.0.0:{port}")
    if host == "localhost":
        return on_loopback(port)
    return [Address(host or ("::" if text.startswith("tcp6") else "0.0.0.0"), port)]  # noqa: S104 - it was written


def _unix_address(text: str) -> Address:
    match = _UNIX.fullmatch(text)
    if match is None:
        what = "expected a unix socket such as unix:/run/site.sock or unix:/run/site.sock:mode=660"
        raise ValueError(f"{what}, got {text!r}")
    mode = int(match["mode"], 8) if match["mode"] else UNIX_MODE
    return Address("", 0, path=match["path"], mode=mode)


def listen(addresses: list[Address]) -> list[tuple[Address, socket.socket]]:
    """Open the addresses, on one free port where it is 0.

    Raises:
        Misconfigured: One of them cannot be opened.
    """
    is_free_port = any(each.port == 0 and not each.path for each in addresses)
    for attempts_left in reversed(range(5 if is_free_port else 1)):
        opened: list[tuple[Address, socket.socket]] = []
        try:
            for address in addresses:
                port = address.port or (opened[-1][0].port if address.is_optional else 0)
                _open(replace(address, port=port), opened)
        except Misconfigured:
            for address, each in opened:
                each.close()
                remove_file(address)
            if not attempts_left:
                raise
        else:
            break
    return opened


def remove_file(address: Address) -> None:
    """Remove the file of a unix socket, unless another one has been bound there since."""
    if not address.path:
        return
    with contextlib.suppress(OSError):
        if os.stat(address.path, follow_symlinks=False).st_ino == address.inode:
            os.unlink(address.path)


def _open(address: Address, opened: list[tuple[Address, socket.socket]]) -> None:
    made = None
    try:
        made = _make_unix(address) if address.path else _make_tcp(address)
        made.setblocking(False)
        made.listen(BACKLOG)
    except OSError as error:
        if made is not None:
            made.close()
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(f"cannot listen on {address}: the address is in use") from error
        if not address.is_optional:
            reason = (error.strerror or str(error)).lower()
            raise Misconfigured(f"cannot listen on {address}: {reason}") from error
    else:
        if address.path:
            found = replace(address, inode=os.stat(address.path).st_ino)
        else:
            found = replace(address, port=made.getsockname()[1])
        opened.append((found, made))


def _make_tcp(address: Address) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made


def _make_unix(address: Address) -> socket.socket:
    _remove_stale(address)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(address.path)
        os.chmod(address.path, address.mode)  # nobody can connect before it listens
    except OSError:
        made.close()
        raise
    return made


def _remove_stale(address: Address) -> None:
    """Remove the file of a socket on which nobody listens: its owner was killed."""
    try:
        found = os.stat(address.path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Misconfigured(f"cannot listen on {address}: a file is there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.setblocking(False)  # whoever listens has a backlog, perhaps a full one
        try:
            visitor.connect(address.path)
        except ConnectionRefusedError:
            os.unlink(address.path)
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "in use") from None
        else:
            raise OSError(errno.EADDRINUSE, "in use")
