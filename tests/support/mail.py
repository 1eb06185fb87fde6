"""A real SMTP server in the test's own loop: it keeps what it takes, and refuses what it is told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.synapse import free_port

USER, PASSWORD = "ruh", "a mail server's password"


@dataclass
class MailServer:
    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """What it says to a recipient instead of taking the mail."""
    hang_up_after: int | None = None
    """So many mails, then the connection breaks."""
    signed_in: int = 0

    @property
    def recipients(self) -> list[str]:
        return sorted(str(mail["To"]) for mail in self.mails)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return f"{self.answers[address]} <{address}>: not this one"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.hang_up_after == len(self.mails):
            server.transport.abort()
        assert isinstance(envelope.content, bytes)
        self.mails.append(cast(EmailMessage, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"

    def authenticate(self, *given: Any) -> AuthResult:
        asked = given[-1]
        right = isinstance(asked, LoginPassword) and asked.password == PASSWORD.encode()
        self.signed_in += right
        return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mail_server(certificate: Path | None = None, **options: Any) -> AsyncIterator[MailServer]:
    """With a certificate it takes mail only over STARTTLS, and only after signing in."""
    server = MailServer(free_port())
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        options |= {"require_starttls": True, "auth_required": True, "authenticator": server.authenticate}

    def protocol() -> SMTP:
        return SMTP(server, hostname="mail.ruh.test", tls_context=context, **options)

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", server.port)
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


def self_signed(directory: Path) -> Path:
    """A certificate for this machine, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "mail.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
