"""Signatures of outgoing webhooks, after Standard Webhooks (standardwebhooks.com, v1).

Signed is `{id}.{timestamp}.{body}` with HMAC-SHA256 under the base64 secret behind `whsec_`. While a secret is being
rotated there are two signatures, so that the receiver may know either.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Raises ValueError if the secret is no base64 or not 24 to 64 bytes long."""
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)  # some leave the padding out
    except binascii.Error as error:
        raise ValueError(f"{PREFIX} is followed by base64") from error
    if not 24 <= len(key) <= 64:
        raise ValueError("a webhook's secret has 24 to 64 bytes")
    return key


def sign(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers, one signature for each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key_of(key), signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
