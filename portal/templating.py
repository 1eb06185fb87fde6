"""Templates are rendered at once, not awaited: a live page renders a line for every viewer of a message.

Everything is escaped; an undefined name is an error, never an empty page.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from quart import current_app

from portal.assets import Assets

TEMPLATES = Path(__file__).parent / "templates"


def instant(at: datetime) -> str:
    """As the browser reads it; sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clock(at: datetime) -> str:
    """Until the browser says it in the reader's zone."""
    return at.astimezone(UTC).strftime("%H:%M")


def equip(environment: Environment, assets: Assets, practice_name: str) -> None:
    environment.filters |= {"instant": instant, "clock": clock}
    environment.globals |= {"asset": assets.url, "practice_name": practice_name}
    environment.trim_blocks = environment.lstrip_blocks = True


class Templates:
    """All pages and fragments of the portal."""

    def __init__(self, assets: Assets, practice_name: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        equip(self._environment, assets, practice_name)

    def render(self, name: str, /, **values: Any) -> Markup:
        body = self._environment.get_template(name).render(**values)
        return Markup(body)  # noqa: S704  the environment escapes


def render(name: str, /, **values: Any) -> Markup:
    """A template of the running app, with these values."""
    return cast(Templates, current_app.extensions["templates"]).render(name, **values)
