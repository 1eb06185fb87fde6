"""The command line. A mistake in what it was given is one clear line and exit code 2, never a trace."""

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge.config import AppserviceSettings, CommonSettings, PortalSettings, load
from bridge.errors import RuhError, SettingsError
from ruh import logs

EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    try:
        code = given.run(given)
    except SettingsError as error:
        print(f"ruh: {error.message}", file=sys.stderr)
        code = EXIT_SETTINGS
    except RuhError as error:
        print(f"ruh: {error.message}", file=sys.stderr)
        code = EXIT_FAILED
    except KeyboardInterrupt:  # before anybody listened for it
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ruh", description="Ruh Chat: secure messaging over Matrix.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="run everything on this machine, with its own PostgreSQL and Synapse")
    up.add_argument("--state", type=Path, default=Path(".ruh"), help="where it keeps its data (.ruh)")
    up.add_argument(
        "--port", type=_port, default=8080, help="the portal's; the homeserver takes one more (8080)"
    )
    up.add_argument("--json", action="store_true", help="print one line of JSON once all is ready")
    up.add_argument("--no-demo", action="store_true", help="make no demo people")
    up.set_defaults(run=_up)

    for name, run, words in (
        ("appservice", _appservice, "carry messages to and from the homeserver"),
        ("portal", _portal, "serve the pages and the platform's API"),
        ("migrate", _migrate, "bring the database to this version"),
        ("doctor", _doctor, "check database, homeserver, registration and keys"),
        ("rotate-key", _rotate_key, "put every data key under the master key in force"),
        ("restored", _restored, "after an older database was put back, before the appservice starts"),
    ):
        command = commands.add_parser(name, help=words)
        command.set_defaults(run=run)

    trail = commands.add_parser("audit", help="look after the audit trail")
    of_trail = trail.add_subparsers(required=True, metavar="COMMAND")
    verify = of_trail.add_parser("verify", help="go through its chain; exit code 1 where it doesn't hold")
    verify.add_argument("--noted", type=_head, metavar="PLACE:LINK", help="an end that was noted earlier")
    verify.set_defaults(run=_verify_audit)

    config = commands.add_parser("homeserver-config", help="write Synapse's configuration and registration")
    config.add_argument("directory", type=Path)
    config.add_argument("--server-name", required=True, help="the part after the colon in Matrix ids")
    config.add_argument("--public-url", required=True, help="where clients reach the homeserver")
    config.add_argument("--database-url", required=True, help="Synapse's own database")
    config.set_defaults(run=_homeserver_config)

    admin = commands.add_parser("homeserver-admin", help="make the admin account and keep its token")
    admin.add_argument("directory", type=Path, help="as given to homeserver-config")
    admin.add_argument("--url", required=True, help="where the homeserver answers")
    admin.set_defaults(run=_homeserver_admin)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 65535:
        raise argparse.ArgumentTypeError("must be a number from 1 to 65534")
    return int(text)


def _head(text: str) -> tuple[int, str]:
    place, _, link = text.partition(":")
    if not re.fullmatch(r"[0-9a-f]{8,64}", link):
        raise argparse.ArgumentTypeError("must be as `ruh audit verify` or the log gave it")
    return int(place), link


def run_until_told(work: Callable[[], Coroutine[Any, Any, Any]]) -> int:
    """Run it; SIGTERM, SIGINT and SIGHUP cancel it, and that is a clean end."""

    async def cancellable() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(name, task.cancel)
        await work()

    with suppress(asyncio.CancelledError):
        asyncio.run(cancellable())
    return 0


def _up(given: argparse.Namespace) -> int:
    from ruh.up import up

    return up(given.state, given.port, as_json=given.json, demo=not given.no_demo)


def _appservice(given: argparse.Namespace) -> int:
    settings = load(AppserviceSettings)
    logs.configure(settings.log_level)
    from appservice.main import run

    return run_until_told(lambda: run(settings))


def _portal(given: argparse.Namespace) -> int:
    settings = load(PortalSettings)
    logs.configure(settings.log_level)
    from portal.main import run

    return run_until_told(lambda: run(settings))


def _migrate(given: argparse.Namespace) -> int:
    from ruh.upkeep import migrate

    return asyncio.run(migrate(load(CommonSettings)))


def _rotate_key(given: argparse.Namespace) -> int:
    from ruh.upkeep import rotate_key

    return asyncio.run(rotate_key(load(CommonSettings)))


def _restored(given: argparse.Namespace) -> int:
    from ruh.upkeep import restored

    return asyncio.run(restored(load(CommonSettings)))


def _verify_audit(given: argparse.Namespace) -> int:
    from ruh.upkeep import verify_audit

    return asyncio.run(verify_audit(load(CommonSettings), given.noted))


def _doctor(given: argparse.Namespace) -> int:
    from ruh.doctor import examine

    return asyncio.run(examine(load(AppserviceSettings)))


def _homeserver_config(given: argparse.Namespace) -> int:
    from ruh.homeserver_setup import write

    return write(given.directory, given.server_name, given.public_url, given.database_url)


def _homeserver_admin(given: argparse.Namespace) -> int:
    from ruh.homeserver_setup import make_admin

    return asyncio.run(make_admin(given.directory, given.url))


if __name__ == "__main__":
    main()
