"""What the documents say is so: settings, commands, targets, log actions, queries, links and cited tests."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from bridge.config import PREFIX, AppserviceSettings, CommonSettings, PortalSettings, _may_be_a_file
from bridge.database import Pool
from ruh.main import _parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LAYERS = ("policies", "bridge", "appservice", "portal", "ruh")
LEVELS = {"info": "Information", "warning": "Warnings", "error": "Errors"}

# What an operator may see: what somebody said or is called stands in none of them, sealed or not.
SEALED = re.compile(r"sealed|wrapped|raw|payload|pickle|password|token|key|content|email|name$")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own heading."""
    below = page.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.M)
    assert lines, heading
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in lines[0].splitlines()[2:]]


def settings_in_code() -> dict[str, tuple[str, str, str]]:
    """Variable → who needs it, secret or not, default."""
    found = {}
    for kind, who in ((AppserviceSettings, "appservice"), (PortalSettings, "portal")):
        for name, field in kind.model_fields.items():
            both = name in CommonSettings.model_fields
            default = "required" if field.default is PydanticUndefined else shown(field.default)
            secret = "yes" if _may_be_a_file(name, field.annotation) else "no"
            found[PREFIX + name.upper()] = ("both" if both else who, secret, default)
    return found


def shown(default: Any) -> str:
    plain = default.get_secret_value() if isinstance(default, SecretStr) else default
    return "yes" if plain is True else str(plain) or "none"


def test_every_setting_stands_in_the_table_as_it_is_in_the_code() -> None:
    in_table = {
        cells[0].strip("`"): (cells[1], cells[3], cells[4].strip("`"))
        for cells in rows(README, "### Settings")
    }
    in_code = settings_in_code()
    in_code["RUH_PREVIOUS_MASTER_KEYS"] = ("both", "yes", "none")
    in_code["RUH_CLIENT_URL"] = ("portal", "no", "none: a page that says how to sign in")
    in_code["RUH_SECURE_COOKIES"] = ("portal", "no", "yes where `RUH_PORTAL_URL` is https")
    assert in_table == in_code


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    asked = {
        (named(page), target)
        for page in PAGES
        for target in re.findall(r"(?:`|^ *(?:sudo )?)make ([a-z][a-z-]*)", page.read_text(), re.M)
    }
    assert asked
    assert {entry for entry in asked if entry[1] not in targets} == set()
    assert set(re.findall(r"`make ([a-z]+)`", README)) >= {"up", "test", "check", "bench"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def test_every_command_that_is_named_exists_and_every_command_is_named() -> None:
    asked = {word for page in PAGES for word in re.findall(r"`ruh ([a-z][a-z-]*)", page.read_text())}
    assert asked == set(commands())


def test_every_option_of_ruh_up_is_told() -> None:
    options = {
        option
        for action in commands()["up"]._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    told = {re.split(r"[ `]", cells[0].strip("`"))[0] for cells in rows(README, "### Options of `ruh up`")}
    assert told == options


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    numbers = [int(path.name.split("-")[0]) for path in DECISIONS]
    assert numbers == list(range(1, len(DECISIONS) + 1))
    index = (ROOT / "docs/decisions/README.md").read_text()
    titles = [
        (n, path.read_text().splitlines()[0], path.name) for n, path in zip(numbers, DECISIONS, strict=True)
    ]
    for number, title, name in titles:
        words = title.removeprefix(f"# {number}. ")
        assert words != title, name
        assert f"{number}. [{words}]({name})" in index


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_is_short_and_says_why_what_and_what_follows(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    for heading in ("## Context", "## Decision", "## Consequences"):
        assert heading in text


def test_every_test_that_is_cited_exists() -> None:
    cited = {
        (named(page), file, test)
        for page in PAGES
        for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())
    }
    assert cited
    for page, file, test in cited:
        path = ROOT / file
        assert path.exists(), f"{page}: {file}"
        assert not test or re.search(rf"def {test}\(", path.read_text()), f"{page}: {file}::{test}"


def test_every_link_between_pages_leads_somewhere() -> None:
    links = {
        (named(page), target)
        for page in PAGES
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    }
    broken = {(page, target) for page, target in links if not ((ROOT / page).parent / target).exists()}
    assert broken == set()


def logged() -> Iterator[tuple[str, str]]:
    """Every (level, action) that our processes log."""
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                if ast.unparse(node.func.value) not in ("log", "_log", "logger"):
                    continue
                level = {"exception": "error", "critical": "error"}.get(node.func.attr, node.func.attr)
                assert level in LEVELS, f"{path}: {level}"
                # structlog's own name for the action: a second one raises where it is logged.
                assert "event" not in [keyword.arg for keyword in node.keywords], f"{path}: {node.lineno}"
                action = node.args[0]
                assert isinstance(action, ast.Constant), f"{path}: an action is a word, ids go beside it"
                yield level, str(action.value)


@pytest.mark.parametrize("level", LEVELS)
def test_every_log_action_is_explained_to_the_operator(level: str) -> None:
    told = {cells[0].strip("`") for cells in rows(OPERATIONS, f"### {LEVELS[level]}")}
    assert told == {action for at, action in logged() if at == level}


def test_every_figure_is_explained_to_the_operator() -> None:
    told = {cells[0].strip("`") for cells in rows(OPERATIONS, "## Metrics")}
    source = (ROOT / "appservice/metrics.py").read_text()
    assert told == set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(\w+)"', source))


def queries() -> list[str]:
    blocks = re.findall(r"```sql\n(.*?)```", OPERATIONS, re.S)
    statements = (part.strip() for block in blocks for part in re.sub(r"--.*", "", block).split(";"))
    return [statement for statement in statements if statement]


async def test_the_operators_queries_run_and_show_no_content(pool: Pool) -> None:
    assert queries()
    async with pool.acquire() as connection:
        for query in queries():
            variables = list(dict.fromkeys(re.findall(r":'(\w+)'", query)))
            for number, variable in enumerate(variables, start=1):
                query = query.replace(f":'{variable}'", f"${number}")
            prepared = await connection.prepare(query)
            shown = [attribute.name for attribute in prepared.get_attributes()]
            assert [name for name in shown if SEALED.search(name)] == [], query
