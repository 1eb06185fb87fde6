"""Demo people, made once over the platform's own API, so that a newcomer has somebody to be and to write to.

Every step may be done again: a demo that was interrupted goes on where it was, one that is finished stays
as it is, passwords included.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import aiohttp

from bridge import accounts, bookings, messages, people
from bridge.database import Pool, open_pool, transaction
from bridge.errors import RuhError
from bridge.sealing import Keyring
from policies.content import Text
from policies.vocabulary import PersonId, Role
from portal.passwords import hash_password
from ruh.installation import Installation
from ruh.local.secrets import word
from ruh.local.state import State

KEPT = "demo"
_NAMESPACE = UUID("7c1d3d52-3f0f-4f0e-9a55-4f5a6b7d8e90")
READY_WITHIN = 60.0  # seconds, for all the clients' accounts and rooms


class DemoFailed(RuhError):
    """The demo people could not be made."""


@dataclass(frozen=True)
class DemoPerson:
    key: str
    role: Role
    first: str
    last: str
    title: str = ""
    time_zone: str = "Europe/London"

    @property
    def email(self) -> str:
        return f"{self.key}@ruh.example"

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.title, self.first, self.last)))


PEOPLE = (
    DemoPerson("sara.khan", Role.THERAPIST, "Sara", "Khan", "Dr."),
    DemoPerson("david.cohen", Role.THERAPIST, "David", "Cohen", "Dr."),
    DemoPerson("maya.lind", Role.CLIENT_CARE, "Maya", "Lind"),
    DemoPerson("omar.farouk", Role.TEAM_MEMBER, "Omar", "Farouk"),
    DemoPerson("helen.brandt", Role.ADMINISTRATOR, "Helen", "Brandt"),
    # Two with the initials A.Y., told apart without saying more (C7).
    DemoPerson("amina.yusuf", Role.CLIENT, "Amina", "Yusuf"),
    DemoPerson("adam.young", Role.CLIENT, "Adam", "Young", time_zone="America/Toronto"),
    DemoPerson("jonas.weber", Role.CLIENT, "Jonas", "Weber", time_zone="Europe/Berlin"),
    DemoPerson("leila.haddad", Role.CLIENT, "Leila", "Haddad"),
    DemoPerson("tomasz.zielinski", Role.CLIENT, "Tomasz", "Zieliński", time_zone="Europe/Warsaw"),
    DemoPerson("grace.okafor", Role.CLIENT, "Grace", "Okafor", time_zone="Africa/Lagos"),
)


@dataclass(frozen=True)
class DemoThread:
    """A booking some hours ago, and what the therapist wrote since."""

    therapist: str
    client: str
    hours_ago: float
    wrote: Sequence[tuple[float, str]] = ()


THREADS = (
    DemoThread("sara.khan", "jonas.weber", 170),
    DemoThread("sara.khan", "leila.haddad", 96),
    DemoThread(
        "sara.khan",
        "adam.young",
        75,
        [(50, "Hello Adam, the times you asked about are free. Would Thursday at four suit you?")],
    ),
    DemoThread(
        "sara.khan",
        "amina.yusuf",
        52,
        [
            (27, "Good morning Amina. Thank you for yesterday; you were very clear about what you need."),
            (26.9, "Until we meet again: a short walk before breakfast, and the phone away at ten."),
        ],
    ),
    DemoThread("david.cohen", "leila.haddad", 120),
    DemoThread("david.cohen", "tomasz.zielinski", 49),
    DemoThread(
        "david.cohen",
        "grace.okafor",
        30,
        [(5, "Hello Grace, please bring the letter from your doctor if you have it.")],
    ),
)


async def ensure(state: State, installation: Installation) -> list[dict[str, str]]:
    """Everybody with their password, the same at every start."""
    kept = state.read(KEPT) or {"passwords": {person.key: _password() for person in PEOPLE}, "people": None}
    if kept["people"] is None:
        state.keep(KEPT, kept)  # passwords first: what was set before a crash must be what is shown after it
        kept["people"] = await _make(installation, kept["passwords"])
        state.keep(KEPT, kept)
    shown: list[dict[str, str]] = kept["people"]
    return shown


async def _make(installation: Installation, passwords: dict[str, str]) -> list[dict[str, str]]:
    settings = installation.settings()
    keyring = Keyring(settings.master_key_bytes)
    made = await _create(installation, settings.api_token.get_secret_value())
    ids = {key: PersonId(UUID(person["id"])) for key, person in made.items()}
    pool = await open_pool(settings.database_url, size=2)
    try:
        await _set_passwords(pool, keyring, ids, passwords)
        await _age(pool, list(ids.values()))
        for thread in THREADS:
            await _open(pool, keyring, ids, thread, settings.practice_name)
        await _wait_for_homeserver(pool, [ids[person.key] for person in PEOPLE if not person.role.is_staff])
    finally:
        await pool.close()
    return [_shown(person, passwords[person.key], made[person.key]) for person in PEOPLE]


async def _create(installation: Installation, token: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(installation.addresses.portal, headers=headers) as session:
        for person in PEOPLE:
            body = {
                "role": person.role.value,
                "name": {"first": person.first, "last": person.last, "title": person.title},
                "email": person.email,
                "time_zone": person.time_zone,
            }
            async with session.put(f"/api/v1/people/demo-{person.key}", json=body) as answer:
                if answer.status not in (200, 201):
                    raise DemoFailed(f"The demo people could not be made: the API answered {answer.status}.")
                made[person.key] = await answer.json()
    return made


async def _set_passwords(
    pool: Pool, keyring: Keyring, ids: dict[str, PersonId], passwords: dict[str, str]
) -> None:
    """As if everybody had used their activation link: the API itself sets no passwords."""
    for person in PEOPLE:
        password, id = passwords[person.key], ids[person.key]
        if person.role.is_staff:
            hashed = await asyncio.to_thread(hash_password, password)
            async with transaction(pool) as tx:
                await people.set_password_hash(tx, id, hashed)
        else:
            async with transaction(pool) as tx:
                await accounts.request_password(tx, keyring, id, password)


async def _age(pool: Pool, team: list[PersonId]) -> None:
    """The demo's threads have a past that its people lack: the therapists' Client Care groups, as old as they
    are and without a word yet, would be the latest of all."""
    async with transaction(pool) as tx:
        await tx.execute(
            "WITH aged AS (UPDATE conversation SET created_at = $2, last_message_at = $2"
            " WHERE kind = 'client_care' AND last_message_id IS NULL AND organiser_id = ANY($1) RETURNING id)"
            " UPDATE member m SET joined_at = $2, last_message_at = $2 FROM aged"
            " WHERE m.conversation_id = aged.id",
            team, datetime.now(UTC) - timedelta(days=14),
        )  # fmt: skip


async def _open(
    pool: Pool, keyring: Keyring, ids: dict[str, PersonId], thread: DemoThread, practice: str
) -> None:
    now = datetime.now(UTC)
    booking = f"demo-{thread.therapist}-{thread.client}"
    async with transaction(pool) as tx:
        opened = await bookings.report(
            tx,
            keyring,
            platform_booking_id=booking,
            client=ids[thread.client],
            therapist=ids[thread.therapist],
            starts_at=now + timedelta(days=2),
            practice=practice,
            at=now - timedelta(hours=thread.hours_ago),
        )
        for number, (hours_ago, text) in enumerate(thread.wrote):
            await messages.post(
                tx,
                keyring,
                author=ids[thread.therapist],
                conversation=opened.conversation_id,
                content=Text(text),
                at=now - timedelta(hours=hours_ago),
                request_id=uuid5(_NAMESPACE, f"{booking} {number}"),
            )


async def _wait_for_homeserver(pool: Pool, clients: list[PersonId]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        async with transaction(pool) as tx:
            found = await accounts.find_many(tx, clients)
            rooms_wanted = await tx.fetchval("SELECT count(*) FROM leg WHERE state = 'wanted'")
        waiting = [account for account in found.values() if not account.ready]
        if not waiting and not rooms_wanted:
            return
        if time.monotonic() > deadline:
            why = ", ".join(sorted({account.error or "no answer" for account in waiting}))
            words = f"{len(waiting)} accounts and {rooms_wanted} rooms of clients are not on the homeserver"
            raise DemoFailed(f"{words} ({why}).")
        await asyncio.sleep(0.1)


def _shown(person: DemoPerson, password: str, made: dict[str, Any]) -> dict[str, str]:
    shown = {"role": person.role.value, "name": person.name, "email": person.email, "password": password}
    if made["account"] is not None:
        shown["user_id"] = made["account"]["user_id"]
    return shown


def _password() -> str:
    """60 bits that can be typed on a phone."""
    letters = word(8)[:12]
    return "-".join(letters[i : i + 4] for i in range(0, 12, 4))
