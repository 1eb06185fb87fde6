"""Whether a password can be set, and how strong it is, in words.

Length first (NIST SP 800-63B): no rules about capitals and signs, which make passwords worse. What a guesser
tries early counts for little: runs, rows of the keyboard, years, the usual words.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from itertools import pairwise

from policies.vocabulary import Refusal

MIN_LENGTH = 10
MAX_LENGTH = 64
"""Characters. The homeserver's bcrypt looks at 72 bytes and no further."""
MAX_BYTES = 72


class Strength(Enum):
    """In the order of strength; the value is what the reader sees."""

    SHORT = f"Too short yet: use at least {MIN_LENGTH} characters."
    GUESSED = (
        "Among the first that anybody would try. Three or four words that don’t belong together are better."
    )
    WEAK = "Weak: another word that only you would think of helps a lot."
    FAIR = "Good. Another word would make it strong."
    STRONG = "Strong."


_USUAL = """
    password passwort passwd passphrase qwertyuiop qwertz qwerty azerty asdfghjkl asdfgh asdf yxcvbnm zxcvbnm
    zxcvbn letmein welcome iloveyou princess dragon monkey football baseball sunshine superman batman master
    shadow michael jennifer charlie login admin administrator secret hello therapy therapist ruh chat summer
    winter spring autumn monday love test guest user pass change me correct horse battery staple
"""
_GUESSED = re.compile("|".join(sorted(_USUAL.split(), key=len, reverse=True)) + r"|(?:19|20)[0-9][0-9]")
_LEET = str.maketrans("01345@$!7", "oieasasit")
_WORD = "\0\0"
"""A usual word stands as two letters, however long it is: it is one guess of a few hundred."""
_WEAK_BITS, _FAIR_BITS, _STRONG_BITS = 24, 36, 60


def normalised(password: str) -> str:
    """The same on every keyboard; Synapse does the same (NFKC) before it hashes."""
    return unicodedata.normalize("NFKC", password)


def check(password: str) -> Refusal | None:
    """Why this can't be a password here, or None."""
    plain = normalised(password)
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in plain):
        return Refusal("unusable", "That password has a character in it that can’t be typed everywhere.")
    if len(plain) > MAX_LENGTH or len(plain.encode()) > MAX_BYTES:
        return Refusal(
            "too_long", f"That password is too long. Use up to {MAX_LENGTH} letters, digits and signs."
        )
    match strength(plain):
        case Strength.SHORT:
            missing = MIN_LENGTH - len(plain)
            more = "one more character" if missing == 1 else f"{missing} more characters"
            return Refusal("too_short", f"A password needs at least {MIN_LENGTH} characters; add {more}.")
        case Strength.GUESSED as guessed:
            return Refusal("guessed", guessed.value.replace("Among", "That password is among"))
    return None


def strength(password: str) -> Strength:
    plain = normalised(password)
    if len(plain) < MIN_LENGTH:
        return Strength.SHORT
    bits = _bits(plain)
    steps = ((_WEAK_BITS, Strength.GUESSED), (_FAIR_BITS, Strength.WEAK), (_STRONG_BITS, Strength.FAIR))
    return next((found for below, found in steps if bits < below), Strength.STRONG)


def _bits(password: str) -> float:
    """A rough measure of the guesses that it takes: how much counts, times what each could have been."""
    folded = password.casefold()
    readings = (folded, folded.translate(_LEET))
    return min(_counting(_GUESSED.sub(_WORD, reading)) for reading in readings) * _bits_each(password)


def _bits_each(password: str) -> float:
    """Bits for each character that counts. People choose, dice don't: less than the alphabet has."""
    bits = 4.0 if any(c.isalpha() for c in password) else 2.5
    bits += 0.5 if any(c.isupper() for c in password[1:]) else 0
    bits += 0.5 if any(c.isdigit() for c in password) else 0
    return bits + (0.5 if any(not c.isalnum() for c in password) else 0)


def _counting(text: str) -> int:
    """Characters but those that only go on: "aaaa", "1234", "dcba", and what is said again."""
    steps = [ord(b) - ord(a) for a, b in pairwise(text)]
    goes_on = [abs(step) <= 1 and step == before for before, step in pairwise(steps)]
    kept = text[:2] + "".join(c for c, on in zip(text[2:], goes_on, strict=True) if not on or c == "\0")
    again = re.fullmatch(r"(.+?)\1+", kept, re.DOTALL)
    return len(again[1]) + 1 if again else len(kept)
