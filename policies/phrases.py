"""Text with variables: ``{client.first_name|there}`` becomes a value, or the words after the bar.

One pass over the text: a value that itself looks like a variable stays as it is. What isn't a variable
(a brace on its own, a name that we don't know) stays exactly as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from policies.vocabulary import Name, Refusal

VARIABLES: Mapping[str, str] = {
    "client.first_name": "the client’s first name",
    "client.full_name": "the client’s full name",
    "therapist.name": "the therapist’s full name, with title",
    "therapist.first_name": "the therapist’s first name",
    "practice.name": "the name of the practice",
}
"""Every variable, with what it stands for, in the order in which a menu shows them."""

# With the space before it: where nothing is filled in, that space goes too ("Hello {…}, welcome").
_VARIABLE = re.compile(r"( ?)\{\s*([a-z][a-z0-9_.]*)\s*(?:\|([^{}\n]*))?\}")


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text with every known variable replaced; without value and fallback it leaves no gap."""

    def replaced(match: re.Match[str]) -> str:
        space, name, fallback = match[1], match[2], match[3]
        if name not in VARIABLES and name not in values:
            return match[0]
        filled = values.get(name, "").strip() or (fallback or "").strip()
        return f"{space}{filled}" if filled else ""

    return _VARIABLE.sub(replaced, text)


def unknown_variables(text: str) -> list[str]:
    """Names in braces that nothing will fill, in the order of the text."""
    return list(dict.fromkeys(match[2] for match in _VARIABLE.finditer(text) if match[2] not in VARIABLES))


def check_phrase(text: str, known: Collection[str] = VARIABLES.keys()) -> Refusal | None:
    """Whether a text can be kept as it is: a misspelt variable would reach a client in braces."""
    wrong = next((name for name in unknown_variables(text) if name not in known), None)
    if wrong is None:
        return None
    return Refusal(
        "unknown_variable", f"“{{{wrong}}}” is not something we can fill in. Choose one from the menu."
    )


def values_for(*, client: Name | None, therapist: Name | None, practice: str) -> dict[str, str]:
    values = {"practice.name": practice}
    if client is not None:
        values |= {"client.first_name": client.first, "client.full_name": client.full}
    if therapist is not None:
        values |= {"therapist.name": therapist.full, "therapist.first_name": therapist.first}
    return values
