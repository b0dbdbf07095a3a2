"""What must be read again but never by whoever reads the database: addresses with tokens in them, signing secrets.

Sealed with Fernet under a key that HKDF derives from SECRET_KEY. What was sealed under an older key is still read while
that key stands in SECRET_KEY_FALLBACKS.
"""

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

PURPOSE = b"changeover: sealed columns, 1"

if TYPE_CHECKING:
    Text = models.JSONField[dict[str, Any], dict[str, Any]]
else:
    Text = models.TextField


class Unreadable(Exception):
    """It was sealed under a key that we do not have."""


@cache
def derived(secret: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))


def box() -> MultiFernet:
    """Seals under the newest key, opens under any."""
    return MultiFernet([derived(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def seal(value: Any) -> str:
    """Of anything that JSON can say."""
    return box().encrypt(json.dumps(value, separators=(",", ":")).encode()).decode()


def unseal(token: str) -> Any:
    """Raises Unreadable."""
    try:
        return json.loads(box().decrypt(token))
    except InvalidToken:
        raise Unreadable from None


def is_of_newest_key(token: str) -> bool:
    try:
        derived(settings.SECRET_KEY).decrypt(token)
    except InvalidToken:
        return False
    return True


class Lost(dict[str, Any]):
    """Stands for what cannot be opened: empty, and written back as it was, since the key may come back."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token


class SealedJson(Text):
    """A JSON object, sealed on its way to the database and in every dump. One that cannot be opened reads as empty."""

    def from_db_value(self, value: str | None, *_: object) -> dict[str, Any]:
        return opened(value or "")

    def to_python(self, value: Any) -> Any:
        return opened(value) if isinstance(value, str) else value

    def get_prep_value(self, value: dict[str, Any]) -> str:
        return value.token if isinstance(value, Lost) else seal(value)

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))


def opened(token: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = unseal(token)
    except Unreadable:
        return Lost(token)
    return found
