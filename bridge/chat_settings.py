"""The two switches at their three levels (P5), and the legs that they silence.

`leg.silenced` is what the settings come to, kept beside the leg so that appending an entry needs no look at
them; every change of a setting or of a group sets it anew in the same transaction.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from bridge import audit, client_groups, directory, locks
from bridge.audit import Did
from bridge.database import Transaction
from bridge.feed import Change, Notification, notify
from bridge.sealing import Keyring
from policies import chat_settings
from policies.chat_settings import InForce, Level, Switch
from policies.vocabulary import ConversationKind, PersonId, Refusal


@dataclass(slots=True)
class _Set:
    """What is set for one client, per switch."""

    client: dict[Switch, bool] = field(default_factory=dict)
    groups: dict[Switch, dict[UUID, bool]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(frozen=True, slots=True)
class Setting:
    """One row, for the settings page."""

    switch: Switch
    level: Level
    subject_id: UUID | None
    on: bool


async def all_set(tx: Transaction) -> list[Setting]:
    """Everything that is set. Callers have asked `Action.VIEW_SETTINGS`."""
    rows = await tx.fetch("SELECT switch, level, person_id, group_id, is_on FROM chat_setting")
    return [
        Setting(Switch(r["switch"]), Level(r["level"]), r["person_id"] or r["group_id"], r["is_on"])
        for r in rows
    ]


async def in_force(
    tx: Transaction, keyring: Keyring, clients: Collection[PersonId], switch: Switch
) -> dict[PersonId, InForce]:
    """What holds for each client, and where it was decided; three queries for any number of them."""
    found, everyone = await _settings(tx, clients)
    names = await client_groups.names(tx, keyring)
    return {
        client: chat_settings.in_force(
            client=found[client].client.get(switch),
            groups={names.get(group, ""): on for group, on in found[client].groups[switch].items()},
            everyone=everyone.get(switch, True),
        )
        for client in clients
    }


async def barred(
    tx: Transaction, keyring: Keyring, clients: Collection[PersonId], kind: ConversationKind
) -> dict[PersonId, Refusal]:
    """Who can't be written to in a conversation of this kind, with the words why (C4)."""
    switch = chat_settings.switch_for(kind)
    if switch is None or not clients:
        return {}
    holding = await in_force(tx, keyring, clients, switch)
    persons = await directory.get_many(tx, keyring, clients)
    verdicts = {
        client: chat_settings.reachable(persons[client].name, switch, holding[client])
        for client in clients
        if client in persons
    }
    return {client: verdict for client, verdict in verdicts.items() if isinstance(verdict, Refusal)}


async def change(
    tx: Transaction, *, actor: PersonId, switch: Switch, level: Level, subject: UUID | None, on: bool | None
) -> None:
    """Switch for everyone, a group or a client; `on` None takes the setting away again.

    Callers have asked `Action.CHANGE_SETTINGS`.
    """
    await locks.alone(tx, locks.SETTINGS)
    person = subject if level is Level.CLIENT else None
    group = subject if level is Level.GROUP else None
    if on is None:
        await tx.execute(
            "DELETE FROM chat_setting WHERE switch = $1 AND level = $2"
            " AND person_id IS NOT DISTINCT FROM $3 AND group_id IS NOT DISTINCT FROM $4",
            switch.value, level.value, person, group,
        )  # fmt: skip
    else:
        await tx.execute(
            "INSERT INTO chat_setting (switch, level, person_id, group_id, is_on, changed_by)"
            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (switch, level, person_id, group_id)"
            " DO UPDATE SET is_on = excluded.is_on, changed_by = excluded.changed_by, changed_at = now()",
            switch.value, level.value, person, group, on, actor,
        )  # fmt: skip
    await audit.record(
        tx, Did.SETTING_CHANGED, actor=actor, subject=subject, switch=switch.value, level=level.value, on=on
    )
    await silence(tx, await _concerned(tx, level, subject))


async def silence(tx: Transaction, clients: Collection[PersonId]) -> None:
    """Set their legs to what the settings say now, and will say until this transaction ends."""
    if not clients:
        return
    await locks.together(tx, locks.SETTINGS)
    found, everyone = await _settings(tx, clients)
    off: dict[Switch, list[PersonId]] = {switch: [] for switch in Switch}
    for client in clients:
        for switch in Switch:
            groups = {str(group): on for group, on in found[client].groups[switch].items()}
            holds = chat_settings.in_force(
                client=found[client].client.get(switch), groups=groups, everyone=everyone.get(switch, True)
            )
            if not holds.on:
                off[switch].append(client)
    kinds: Mapping[Switch, list[str]] = {
        switch: [kind.value for kind in ConversationKind if chat_settings.switch_for(kind) is switch]
        for switch in Switch
    }
    for switch in Switch:
        rows = await tx.fetch(
            "UPDATE leg l SET silenced = m.person_id = ANY($3) FROM member m, conversation c"
            " WHERE m.id = l.member_id AND c.id = l.conversation_id AND l.state <> 'ended'"
            " AND m.person_id = ANY($1) AND c.kind = ANY($2) AND l.silenced <> (m.person_id = ANY($3))"
            " RETURNING l.conversation_id",
            list(clients), kinds[switch], off[switch],
        )  # fmt: skip
        for conversation in {row["conversation_id"] for row in rows}:
            await notify(tx, Notification(Change.CONVERSATION, conversation))


async def _settings(
    tx: Transaction, clients: Collection[PersonId]
) -> tuple[dict[PersonId, _Set], dict[Switch, bool]]:
    rows = await tx.fetch(
        "SELECT s.switch, s.is_on, s.level, coalesce(s.person_id, g.person_id) AS person_id, s.group_id"
        " FROM chat_setting s LEFT JOIN client_group_member g"
        " ON g.group_id = s.group_id AND g.person_id = ANY($1)"
        " WHERE s.level = 'everyone' OR s.person_id = ANY($1) OR g.person_id IS NOT NULL",
        list(clients),
    )
    found: dict[PersonId, _Set] = defaultdict(_Set)
    everyone: dict[Switch, bool] = {}
    for row in rows:
        switch, on = Switch(row["switch"]), row["is_on"]
        match Level(row["level"]):
            case Level.EVERYONE:
                everyone[switch] = on
            case Level.GROUP:
                found[row["person_id"]].groups[switch][row["group_id"]] = on
            case Level.CLIENT:
                found[row["person_id"]].client[switch] = on
    return found, everyone


async def _concerned(tx: Transaction, level: Level, subject: UUID | None) -> list[PersonId]:
    match level:
        case Level.CLIENT:
            return [PersonId(subject)] if subject is not None else []
        case Level.GROUP:
            assert subject is not None
            return await client_groups.members(tx, subject)
        case Level.EVERYONE:
            rows = await tx.fetch("SELECT id FROM person WHERE role = 'client'")
            return [PersonId(row["id"]) for row in rows]
