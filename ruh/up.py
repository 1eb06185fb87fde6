"""`ruh up`: everything on this machine, from nothing to a portal to sign in to, until it is told to stop.

Standard output belongs to the answer: a table for a person, or one line of JSON; all else goes to
standard error.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruh import demo, logs
from ruh.installation import Installation
from ruh.local.state import State
from ruh.supervisor import Supervisor


def up(directory: Path, port: int, *, as_json: bool, demo: bool) -> int:
    logs.configure("warning")
    state = State(directory)
    try:
        return asyncio.run(_up(state, port, as_json=as_json, with_demo=demo))
    finally:
        state.close()


async def _up(state: State, port: int, *, as_json: bool, with_demo: bool) -> int:
    supervisor = Supervisor(say)
    installation = Installation(state, port, supervisor)
    running = asyncio.create_task(_run(state, installation, as_json=as_json, with_demo=with_demo))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, _told_to_stop, running, supervisor)
    try:
        await running
    except asyncio.CancelledError:
        say("stopping …")
    finally:
        await installation.stop()
    say("stopped; the data stays in " + str(state.directory))
    return 0


_asked = 0


def _told_to_stop(running: "asyncio.Task[None]", supervisor: Supervisor) -> None:
    """Once: end in order. Again: now."""
    global _asked
    _asked += 1
    running.cancel()
    if _asked > 1:
        supervisor.kill()


async def _run(state: State, installation: Installation, *, as_json: bool, with_demo: bool) -> None:
    say("starting PostgreSQL, Synapse, the appservice and the portal …")
    await installation.start()
    if with_demo:
        say("looking after the demo people …")
    people = await demo.ensure(state, installation) if with_demo else []
    answer = {
        "portal": installation.addresses.portal,
        "homeserver": installation.addresses.homeserver,
        "server_name": state.secrets.server_name,
        "api": {"url": installation.addresses.portal + "/api/v1", "token": state.secrets.api_token},
        "people": people,
    }
    print(json.dumps(answer, ensure_ascii=False) if as_json else table(answer), flush=True)
    await asyncio.Event().wait()


def table(answer: dict[str, Any]) -> str:
    """Where to go and whom to sign in as."""
    lines = [
        "",
        f"  Portal      {answer['portal']}    staff sign in here with e-mail and password",
        f"  Homeserver  {answer['homeserver']}    clients sign in here, from any Matrix client",
        f"  API         {answer['api']['url']}    token: {answer['api']['token']}",
        "",
    ]
    rows = [
        (_ROLES[person["role"]], person["name"], person.get("user_id", person["email"]), person["password"])
        for person in answer["people"]
    ]
    if rows:
        lines += _columns([("Role", "Name", "Signs in as", "Password"), *rows])
        lines.append("")
    return "\n".join([*lines, "  Ctrl-C stops everything."])


_ROLES = {
    "therapist": "Therapist",
    "client": "Client",
    "team_member": "Team member",
    "client_care": "Client Care",
    "administrator": "Administrator",
}


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def say(words: str) -> None:
    print(f"ruh: {words}", file=sys.stderr, flush=True)
