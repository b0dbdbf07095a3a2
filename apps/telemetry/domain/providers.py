"""Who was asked: the provider by whatever name a sender gives it, or by the address that answered."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from apps.catalog.domain.names import named
from apps.telemetry.domain import aliases
from apps.telemetry.domain.attributes import packed
from apps.telemetry.domain.otlp import Told

Endpoints = Mapping[str, str]  # hosts, as people have settled them -> who answers there


def provider_of(told: Told) -> str:
    return answered_by(told)[0]


def answered_by(told: Told) -> tuple[str, str]:
    """The provider, as the sender says it; where that is `openai`, as all say who are compatible with it, as the host
    says it that answered. And that host, else an empty one."""
    said, endpoint = told.get("provider"), told.get("endpoint")
    provider = named(said[:64]) if isinstance(said, str) else ""
    if provider != "openai" or not isinstance(endpoint, str):
        return provider, ""
    host = host_of(endpoint)
    return provider_at(host) or provider, host


def settled_at(endpoints: Endpoints, host: str) -> str:
    """Who answers at a host or a domain above it, as people have settled it; the nearest counts. Empty: nobody has."""
    while host and host not in endpoints:
        host = host.partition(".")[2]
    return endpoints.get(host, "")


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


@lru_cache(maxsize=1_000)
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
