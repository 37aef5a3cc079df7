"""TLS of a site: its certificate, read again when it has changed."""

from __future__ import annotations

import os
import ssl
from dataclasses import field
from typing import Annotated, Final, Literal

from piped.errors import Misconfigured
from piped.providers.web.dispatch import log
from piped.spec import Duration, Meta, part

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: what keeps old records secret when the key gets known (RFC 9325, 4.2)."""

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@part
class Tls:
    """A certificate and its key, as files, and who may connect."""

    certificate: Annotated[
        str, Meta(min_length=1, description="The PEM file of the certificate and its chain.")
    ]
    key: Annotated[
        str | None,
        Meta(description="The PEM file of the key; null: it is in that of the certificate."),
    ] = None
    password: Annotated[
        str | None, Meta(description="What the key is encrypted with, by !env or !secret.")
    ] = None
    minimum: Annotated[
        Literal["1.2", "1.3"], Meta(description="The oldest version of TLS that is spoken.")
    ] = "1.2"
    client_authorities: Annotated[
        str | None,
        Meta(description="A PEM file; clients need a certificate of an authority in it."),
    ] = None
    handshake_timeout: Annotated[
        Duration, Meta(description="How long a handshake may take; else the connection is closed.")
    ] = Duration(10)

    _seen: tuple[tuple[int, ...], ...] = field(default=(), init=False)

    def context(self) -> ssl.SSLContext:
        """Return what new connections are made with.

        Raises:
            Misconfigured: A file cannot be read, or certificate and key are no pair.
        """
        self._seen = self._stamps()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.minimum]
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        file = self.certificate
        try:
            # Without a password of ours, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(file, self.key, self.password or "")
            if self.client_authorities:
                file = self.client_authorities
                context.load_verify_locations(file)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError is one
            raise Misconfigured(f"cannot use {file!r} for TLS: {_reason(error)}") from error
        return context

    def renewed(self, site: str) -> ssl.SSLContext | None:
        """Return another context if the files have changed, and are right."""
        if self._stamps() == self._seen:
            return None
        try:
            context = self.context()
        except Misconfigured as error:
            log.error("certificate not renewed", site=site, error=str(error))
            return None
        log.info("certificate renewed", site=site, certificate=self.certificate)
        return context

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        """Return what tells a file from its successor."""
        stamps: list[tuple[int, ...]] = []
        for file in filter(None, (self.certificate, self.key, self.client_authorities)):
            try:
                found = os.stat(file)
            except OSError:
                stamps.append((0,))
            else:
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(stamps)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is not PEM").lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
