"""Who was asked: the provider by whatever name a sender gives it, or by the address that answered."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from apps.catalog.domain.names import named
from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import packed
from apps.telemetry.domain.otlp import Told


def provider_of(told: Told) -> str:
    said = told.get("provider")
    provider = named(said[:64]) if isinstance(said, str) else ""
    endpoint = told.get("endpoint")
    if provider == "openai" and isinstance(endpoint, str):
        return provider_at(endpoint) or provider
    return provider


@lru_cache(maxsize=1_000)
def provider_at(endpoint: str) -> str:
    """Whose address it is; empty for our own networks, whose gateways speak for whom they say they do."""
    host = host_of(endpoint)
    for ending, provider in aliases.ENDPOINTS.items():
        if host == ending or host.endswith(f".{ending}"):
            return provider
    try:
        return "" if ipaddress.ip_address(host).is_private else host
    except ValueError:
        return host if "." in host and not host.endswith((".local", ".internal", ".svc", ".lan")) else ""


def host_of(endpoint: str) -> str:
    """Of a URL, or of a host with its port; empty where there is none to be read."""
    try:
        return (urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "")[:64]
    except ValueError:
        return ""


def invoked_model(told: Told) -> str:
    for name in aliases.INVOCATION:
        model = packed(told[name]).get("model") if name in told else None
        if isinstance(model, str):
            return model[:200]
    return ""
