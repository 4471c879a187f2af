"""The text of a token: `skep_ID_SECRET`, and what of it may be stored.

The id is not secret. The secret has 256 bits of chance, so a plain SHA-256 of it can't be reversed by guessing.
"""

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field
from typing import Final

ID_CHARS: Final = 12
SECRET_CHARS: Final = 43  # of 62: 256 bits
_LETTERS: Final = string.ascii_letters + string.digits
_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_TOKEN: Final = re.compile(rf"skep_([a-z0-9]{{{ID_CHARS}}})_([A-Za-z0-9]{{{SECRET_CHARS}}})")
_TOKEN_ID: Final = re.compile(rf"[a-z0-9]{{{ID_CHARS}}}")


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token's id and secret."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> "TokenText":
        """Return a new one."""
        return cls(_random(_ID_LETTERS, ID_CHARS), _random(_LETTERS, SECRET_CHARS))

    @classmethod
    def parse(cls, text: str) -> "TokenText | None":
        """Return the parts of a token, None for any other text."""
        match = _TOKEN.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    @property
    def text(self) -> str:
        """The token as its owner gets it."""
        return f"skep_{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret, hex."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def is_token_id(text: str) -> bool:
    """Return whether the text has the form of a token's id."""
    return _TOKEN_ID.fullmatch(text) is not None


def _random(letters: str, count: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(count))
