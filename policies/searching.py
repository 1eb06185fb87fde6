"""What a search compares: words without case and accents, found by how they begin (C3, C14)."""

from __future__ import annotations

import unicodedata

# Letters that Unicode doesn't take apart, and that keyboards elsewhere don't have.
_PLAIN_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
)


def folded_words(text: str) -> tuple[str, ...]:
    """ "José-María O’Neill" → ("jose", "maria", "oneill")."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    # An apostrophe belongs to its word; every other mark ends one.
    letters = "".join(c if c.isalnum() else "" if c in "'’" else " " for c in plain)
    return tuple(letters.translate(_PLAIN_LETTERS).split())


def matches(wanted: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Every wanted word begins one of the words."""
    return all(any(word.startswith(start) for word in words) for start in wanted)
