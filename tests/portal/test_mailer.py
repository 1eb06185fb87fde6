"""E-mails through a real SMTP server: each once, with nothing in them, and nobody waits for them (N1)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge import messages, participants, unread_mail
from bridge.config import load
from bridge.database import Pool, Transaction, transaction
from bridge.errors import SettingsError
from policies.content import Text
from policies.vocabulary import ConversationId, Person, PersonId, Role
from portal import mailer as mailers
from portal.app import create_app
from portal.mailer import Mailer
from tests.portal.stage import settings
from tests.support.mail import PASSWORD, USER, MailServer, mail_server, self_signed
from tests.support.people import keyring, make

KEYS = keyring()
SARA, AMINA = "sara@ruh.test", "amina@ruh.test"
PLAIN = {"RUH_SMTP_STARTTLS": "false"}


class Practice:
    """Sara and the clients who have left her messages unread."""

    def __init__(self, pool: Pool, url: str, sara: Person) -> None:
        self.pool, self.url, self.sara = pool, url, sara
        self.threads: list[ConversationId] = []

    async def writes_to(self, *addresses: str) -> None:
        for n, address in enumerate(addresses):
            async with transaction(self.pool) as tx:
                client = await make(tx, KEYS, Role.CLIENT, f"Amina{n}", "Yusuf", email=address)
                thread, _ = await participants.open_direct(
                    tx, KEYS, therapist=self.sara.id, client=client.id, at=datetime.now(UTC)
                )
                await self.say(tx, self.sara.id, thread)
            self.threads.append(thread)

    async def say(self, tx: Transaction, author: PersonId, thread: ConversationId) -> None:
        await messages.post(
            tx, KEYS, author=author, conversation=thread, content=Text("My secret words"),
            at=datetime.now(UTC),
        )  # fmt: skip

    def mailer(self, port: int, **more: str) -> Mailer:
        given = {
            "RUH_SMTP_HOST": "127.0.0.1", "RUH_SMTP_PORT": str(port), "RUH_UNREAD_MAIL_MINUTES": "0",
            "RUH_SMTP_FROM": "no-reply@practice.test", "RUH_PRACTICE_NAME": "Ruh Practice", **PLAIN, **more,
        }  # fmt: skip
        return Mailer(self.pool, KEYS, settings(self.url, **given))

    async def outcomes(self) -> list[tuple[str, str | None]]:
        rows = await self.pool.fetch("SELECT state, error FROM unread_mail ORDER BY unread_since")
        return [(row["state"], row["error"]) for row in rows]

    async def later(self) -> None:
        """Leases and pauses are over."""
        await self.pool.execute("UPDATE unread_mail SET next_attempt_at = now()")


@pytest.fixture
async def practice(pool: Pool, database_url: str) -> Practice:
    async with transaction(pool) as tx:
        sara = await make(tx, KEYS, Role.THERAPIST, "Sara", "Khan", email=SARA)
    return Practice(pool, database_url, sara)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server(enable_SMTPUTF8=True) as running:
        yield running


async def test_a_mail_says_who_has_written_by_the_practices_name_alone(
    practice: Practice, server: MailServer
) -> None:
    await practice.writes_to(AMINA)
    await practice.mailer(server.port).send_due()
    (mail,) = server.mails
    assert (mail["To"], mail["From"]) == (AMINA, "Ruh Practice <no-reply@practice.test>")
    assert mail["Message-ID"].endswith("@practice.test>")
    assert mail["Auto-Submitted"] == "auto-generated"
    whole = mail.as_string()
    assert [word for word in ("secret", "Sara", "Khan", "Amina", "Yusuf") if word in whole] == []
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    for part in (text, html):
        assert "Ruh Practice" in part.get_content()
        assert "/how-to-sign-in" in part.get_content()


async def test_staff_are_led_to_the_conversation(practice: Practice, server: MailServer) -> None:
    await practice.writes_to(AMINA)
    await practice.pool.execute("DELETE FROM unread_mail")
    client = await practice.pool.fetchval("SELECT client_id FROM conversation WHERE client_id IS NOT NULL")
    async with transaction(practice.pool) as tx:
        await practice.say(tx, client, practice.threads[0])
    await practice.mailer(server.port).send_due()
    (mail,) = server.mails
    body = mail.get_body(("plain",))
    assert mail["To"] == SARA
    assert body is not None
    assert any(word.endswith(f"/chat/{practice.threads[0]}") for word in body.get_content().split())


async def test_several_portals_send_each_mail_once(practice: Practice, server: MailServer) -> None:
    addresses = [f"client{n}@ruh.test" for n in range(25)]
    await practice.writes_to(*addresses)

    async def send(mailer: Mailer) -> None:
        while await mailer.send_due():
            pass

    await asyncio.gather(*(send(practice.mailer(server.port)) for _ in range(3)))
    assert server.recipients == sorted(addresses)
    assert await practice.outcomes() == [("sent", None)] * 25


async def test_one_refused_recipient_stops_nobody_else(practice: Practice, server: MailServer) -> None:
    await practice.writes_to("gone@ruh.test", "full@ruh.test", AMINA)
    server.answers = {"gone@ruh.test": "550 5.1.1", "full@ruh.test": "452 4.2.2"}
    with capture_logs() as logs:
        await practice.mailer(server.port).send_due()
    assert server.recipients == [AMINA]
    assert await practice.outcomes() == [("failed", "smtp_550"), ("waiting", "smtp_452"), ("sent", None)]
    assert [line["event"] for line in logs] == ["mail_failed", "mail_postponed", "mail_sent"]
    assert "ruh.test" not in str(logs)


async def test_what_was_postponed_goes_later_as_the_same_mail(practice: Practice, server: MailServer) -> None:
    await practice.writes_to(AMINA)
    server.answers = {AMINA: "451 4.7.1"}
    await practice.mailer(server.port).send_due()
    planned = await practice.pool.fetchval("SELECT message_id FROM unread_mail")
    server.answers = {}
    await practice.mailer(server.port).send_due()
    assert server.mails == []  # not at once
    await practice.later()
    await practice.mailer(server.port).send_due()
    assert [mail["Message-ID"] for mail in server.mails] == [planned]


async def test_a_crash_before_the_outcome_is_written_sends_the_same_mail_again(
    practice: Practice, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await practice.writes_to(AMINA)

    async def crash(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(unread_mail, "sent", crash)
        with pytest.raises(RuntimeError):
            await practice.mailer(server.port).send_due()
    await practice.mailer(server.port).send_due()
    assert len(server.mails) == 1  # its lease isn't over
    await practice.later()
    await practice.mailer(server.port).send_due()
    assert len(server.mails) == 2
    assert len({mail["Message-ID"] for mail in server.mails}) == 1
    assert await practice.outcomes() == [("sent", None)]


async def test_mails_wait_for_a_server_that_is_away(practice: Practice) -> None:
    await practice.writes_to(AMINA, "adam@ruh.test")
    async with mail_server() as running:
        port = running.port
    assert not await practice.mailer(port).send_due()
    assert await practice.outcomes() == [("waiting", "unreachable")] * 2


async def test_a_connection_that_breaks_keeps_the_rest_for_later(
    practice: Practice, server: MailServer
) -> None:
    await practice.writes_to("a@ruh.test", "b@ruh.test", "c@ruh.test")
    server.hang_up_after = 1
    await practice.mailer(server.port).send_due()
    assert await practice.outcomes() == [("sent", None)] + [("waiting", "unreachable")] * 2


async def test_a_server_that_never_answers_is_left_alone_after_a_while(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    await practice.writes_to(AMINA)
    monkeypatch.setattr(mailers, "_PATIENCE", 0.2)
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with silent:
        await practice.mailer(silent.sockets[0].getsockname()[1]).send_due()
    assert await practice.outcomes() == [("waiting", "timeout")]


@pytest.mark.parametrize(("extension", "outcome"), [(True, ("sent", None)), (False, ("failed", "address"))])
async def test_an_address_in_another_script_goes_where_the_server_takes_it(
    practice: Practice, extension: bool, outcome: tuple[str, str | None]
) -> None:
    await practice.writes_to("أمينة@ruh.test")
    async with mail_server(enable_SMTPUTF8=extension) as running:
        await practice.mailer(running.port).send_due()
    assert await practice.outcomes() == [outcome]


@pytest.mark.parametrize("address", ["amina", "amina@ruh.test\r\nBcc: all@ruh.test", "@", "<>"])
async def test_what_is_no_address_gets_no_mail(practice: Practice, server: MailServer, address: str) -> None:
    await practice.writes_to(address)
    server.answers = {address: "501"}
    await practice.mailer(server.port).send_due()
    assert server.mails == []
    assert (await practice.outcomes())[0][0] == "failed"


@asynccontextmanager
async def trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trust: bool = True
) -> AsyncIterator[MailServer]:
    certificate = self_signed(tmp_path)
    if trust:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with mail_server(certificate) as running:
        yield running


async def test_it_signs_in_over_an_encrypted_connection(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await practice.writes_to(AMINA)
    secure = {"RUH_SMTP_STARTTLS": "true", "RUH_SMTP_USER": USER, "RUH_SMTP_PASSWORD": PASSWORD}
    async with trusted(tmp_path, monkeypatch) as running:
        await practice.mailer(running.port, **secure).send_due()
        assert (running.recipients, running.signed_in) == ([AMINA], 1)


async def test_a_wrong_password_and_a_wrong_certificate_are_told_apart(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await practice.writes_to(AMINA)
    wrong = {"RUH_SMTP_STARTTLS": "true", "RUH_SMTP_USER": USER, "RUH_SMTP_PASSWORD": "wrong"}
    for trust, error in ((False, "tls"), (True, "sign_in_refused")):
        async with trusted(tmp_path, monkeypatch, trust=trust) as running:
            await practice.mailer(running.port, **wrong).send_due()
            assert (running.mails, running.signed_in) == ([], 0)
        assert await practice.outcomes() == [("waiting", error)]
        await practice.later()


async def test_nothing_goes_out_in_clear_where_that_was_not_allowed(
    practice: Practice, server: MailServer
) -> None:
    await practice.writes_to(AMINA)
    await practice.mailer(server.port, RUH_SMTP_STARTTLS="true").send_due()
    assert server.mails == []
    assert await practice.outcomes() == [("waiting", "not_possible")]


async def test_the_portal_sends_them_while_it_serves(practice: Practice, server: MailServer) -> None:
    await practice.writes_to(AMINA)
    given = {"RUH_SMTP_HOST": "127.0.0.1", "RUH_SMTP_PORT": str(server.port), "RUH_SMTP_FROM": "a@b.test"}
    app = create_app(settings(practice.url, **given, **PLAIN, RUH_UNREAD_MAIL_MINUTES="0"), practice.pool)
    async with app.test_app(), asyncio.timeout(20):
        while not server.mails:
            await asyncio.sleep(0.02)
        page = await app.test_client().get("/how-to-sign-in")
        assert "http://homeserver.test" in await page.get_data(as_text=True)


def test_a_mail_server_needs_a_sender(database_url: str) -> None:
    with pytest.raises(SettingsError, match="RUH_SMTP_FROM must be an e-mail address"):
        settings(database_url, RUH_SMTP_HOST="mail.ruh.test")


def test_the_password_may_stand_in_a_file(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    kind = type(settings(database_url))
    given = {"RUH_SMTP_PASSWORD_FILE": str(tmp_path / "password")}
    with pytest.raises(SettingsError) as refused:
        load(kind, given)
    assert "SMTP" not in refused.value.message
    assert settings(database_url, **given).smtp_password.get_secret_value() == PASSWORD
