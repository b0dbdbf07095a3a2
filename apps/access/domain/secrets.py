"""API keys: 256 random bits behind a readable prefix, stored as their SHA-256.

A key has full entropy, so a fast hash without salt is right: there is nothing to guess, and the hot doors can look it
up by its digest.
"""

import hashlib
import secrets

PREFIX = "co_"
SHOWN = 10  # characters of a key that lists may show, to tell keys apart


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
