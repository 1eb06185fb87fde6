"""Sends the e-mails about unread messages: only where a mail server is named, and nothing ever waits for it.

A mail is claimed, sent, and then its outcome recorded: a crash in between sends it again, under the same
Message-ID. Several portals share the work. Neither addresses nor what a server answers (it repeats them)
stand in a log.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formataddr, formatdate, parseaddr

import structlog
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPTimeoutError,
)

from bridge import unread_mail
from bridge.config import PortalSettings
from bridge.database import UNREACHABLE, Pool, transaction
from bridge.sealing import Keyring
from bridge.unread_mail import LEASE, Mail
from policies import mails

log = structlog.get_logger()

EVERY = 10.0  # seconds
_PATIENCE = 20.0  # seconds for one answer of the mail server
_BATCH_PATIENCE = LEASE.total_seconds() * 0.8
_TLS_PORT = 465  # RFC 8314, section 3.3: TLS from the first byte


@dataclass(frozen=True, slots=True)
class _Trouble:
    code: str
    for_good: bool = False
    everybody: bool = False
    """The others would meet it too: no use to go on now."""


class Mailer:
    def __init__(self, pool: Pool, keyring: Keyring, settings: PortalSettings) -> None:
        self._pool = pool
        self._keyring = keyring
        self._settings = settings
        name, self._sender = parseaddr(settings.smtp_from)
        self._from = formataddr((name or settings.practice_name, self._sender))

    async def run(self) -> None:
        """For ever. Whatever goes wrong is tried again at the next round."""
        while True:
            more = False
            try:
                more = await self.send_due()
            except UNREACHABLE as error:
                log.warning("database_unreachable", work="mailer", error=type(error).__name__)
            except Exception as error:
                log.error("mailer_failed", error=type(error).__name__)
            if not more:
                await asyncio.sleep(EVERY)

    async def send_due(self) -> bool:
        """Everything that is due, a handful at a time; True when there may be more."""
        async with transaction(self._pool) as tx:
            claimed = await unread_mail.claim(
                tx,
                self._keyring,
                unread_for=timedelta(minutes=self._settings.unread_mail_minutes),
                domain=self._sender.rpartition("@")[2],
            )
        if not claimed:
            return False
        # Past this somebody else may claim them: what was not tried by then is theirs.
        with suppress(TimeoutError):
            async with asyncio.timeout(_BATCH_PATIENCE):
                return await self._send(claimed)
        return False

    async def _send(self, claimed: Sequence[Mail]) -> bool:
        smtp = self._connection()
        trouble = await _trouble_of(smtp.connect())
        if trouble is not None:
            trouble = replace(trouble, for_good=False, everybody=True)
        try:
            for mail in claimed:
                if trouble is None or not trouble.everybody:
                    trouble = await _trouble_of(self._one(smtp, mail))
                await self._ended(mail, trouble)
        finally:
            await _trouble_of(smtp.quit())
            smtp.close()
        return trouble is None or not trouble.everybody

    async def _one(self, smtp: SMTP, mail: Mail) -> None:
        await smtp.send_message(self._message(mail), sender=self._sender, recipients=[mail.address])

    async def _ended(self, mail: Mail, trouble: _Trouble | None) -> None:
        ids = {"person": str(mail.person_id), "conversation": str(mail.conversation_id)}
        async with self._pool.acquire() as connection:
            if trouble is None:
                await unread_mail.sent(connection, mail)
                log.info("mail_sent", **ids)
            elif not trouble.for_good and await unread_mail.postponed(connection, mail, trouble.code):
                log.warning("mail_postponed", **ids, error=trouble.code, attempts=mail.attempts)
            else:
                await unread_mail.failed(connection, mail, trouble.code)
                log.warning("mail_failed", **ids, error=trouble.code, attempts=mail.attempts)

    def _connection(self) -> SMTP:
        settings = self._settings
        at_once = settings.smtp_port == _TLS_PORT
        return SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            use_tls=at_once,
            start_tls=settings.smtp_starttls and not at_once,
            timeout=_PATIENCE,
        )

    def _message(self, mail: Mail) -> EmailMessage:
        """Raises ValueError for an address that is none."""
        settings = self._settings
        if mail.role.is_staff:
            words = mails.to_staff(
                settings.practice_name, f"{settings.portal_url}/chat/{mail.conversation_id}"
            )
        else:
            words = mails.to_client(
                settings.practice_name, settings.client_url or f"{settings.portal_url}/how-to-sign-in"
            )
        message = EmailMessage()
        message["From"] = self._from
        message["To"] = mail.address
        message["Subject"] = words.subject
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = mail.message_id
        # RFC 3834: no out-of-office answers this.
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(words.text)
        message.add_alternative(words.html, subtype="html")
        return message


async def _trouble_of(request: Awaitable[object]) -> _Trouble | None:
    try:
        await request
    except (SMTPException, OSError, ValueError) as error:
        return _understood(error)
    return None


def _understood(error: Exception) -> _Trouble:
    """A code; never the words, which name the recipient."""
    if isinstance(error, SMTPRecipientsRefused):
        error = error.recipients[0]
    match error:
        case ssl.SSLError():  # a certificate that doesn't hold is a ValueError too
            return _Trouble("tls", everybody=True)
        case SMTPAuthenticationError():
            return _Trouble("sign_in_refused", everybody=True)
        case SMTPSenderRefused():
            return _Trouble(f"sender_refused_{error.code}", everybody=True)
        case SMTPResponseException():
            for_good = 500 <= error.code < 600
            return _Trouble(f"smtp_{error.code}", for_good, everybody=error.code == 421)
        case SMTPNotSupported() | ValueError():
            return _Trouble("address", for_good=True)
        case SMTPTimeoutError() | TimeoutError():
            return _Trouble("timeout", everybody=True)
        case OSError():
            return _Trouble("unreachable", everybody=True)
        case _:
            return _Trouble("not_possible", everybody=True)  # no STARTTLS, no way to sign in
