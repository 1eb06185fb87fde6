"""A link activates an account once, within its time, and a newer one takes its place (P2).

Only the SHA-256 of its 32 random bytes is kept: a dump of the table opens nothing. Looking at a link
doesn't use it up, because mail scanners look at every link before its reader does.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.database import Transaction
from bridge.errors import LinkExpired, LinkUnknown, LinkUsed
from policies.vocabulary import PersonId, Role

LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Link:
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A link that was given out and not replaced; `used_at` None: it still activates."""

    person_id: PersonId
    role: Role
    expires_at: datetime
    used_at: datetime | None


async def issue(tx: Transaction, person_id: PersonId, *, lifetime: timedelta = LIFETIME) -> Link:
    """A new link; those before it stop working."""
    # Two at once wait for each other on the person, so that exactly one link is left.
    await tx.execute("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE", person_id)
    await tx.execute("DELETE FROM activation WHERE person_id = $1", person_id)
    token = secrets.token_urlsafe(32)
    expires_at: datetime = await tx.fetchval(
        "INSERT INTO activation (token_hash, person_id, expires_at) VALUES ($1, $2, now() + $3)"
        " RETURNING expires_at",
        _hash(token), person_id, lifetime,
    )  # fmt: skip
    return Link(token, expires_at)


async def find(tx: Transaction, token: str) -> Found:
    """What the link opens; used ones too. Raises LinkUnknown, or LinkExpired for an unused one."""
    row = await tx.fetchrow(
        """SELECT a.person_id, p.role, a.expires_at, a.used_at, a.expires_at <= now() AS expired
           FROM activation a JOIN person p ON p.id = a.person_id
           WHERE a.token_hash = $1 AND (p.role = 'client' OR p.status = 'active')""",
        _hash(token),
    )
    if row is None:
        raise LinkUnknown
    if row["expired"] and row["used_at"] is None:
        raise LinkExpired
    return Found(PersonId(row["person_id"]), Role(row["role"]), row["expires_at"], row["used_at"])


async def use(tx: Transaction, token: str) -> Found:
    """Use the link up. Of two at the same instant one gets it; raises LinkUsed for the other."""
    found = await find(tx, token)
    used_at = await tx.fetchval(
        "UPDATE activation SET used_at = now()"
        " WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING used_at",
        _hash(token),
    )
    if used_at is None:
        raise LinkUsed
    return Found(found.person_id, found.role, found.expires_at, used_at)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
