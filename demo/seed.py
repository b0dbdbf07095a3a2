"""What the demo needs before anything moves: models, an environment, people, keys, channels; then routes and a budget.

May run as often as it likes: what is there stays. The first half goes through the services, since nobody has a key yet;
the second half through the management API, as any script would do it.
"""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model

from apps.access import services as access
from apps.access.domain.roles import KeyScope, Role
from apps.access.domain.secrets import digest_of
from apps.access.models import ApiKey, Environment
from apps.alerts import services as alerts
from apps.alerts.domain.signature import new_secret
from apps.alerts.models import Channel
from apps.catalog import services as catalog
from apps.core import actors
from demo.children import free_port, is_free
from demo.plane import Plane
from demo.service import NAMES

ENVIRONMENT = "production"
ROUTE = "invoice-extraction"
BECAUSE = "The demo needs it."
DEMO = actors.key("demo")

PEOPLE = {"operator": ("alice", Role.OPERATOR), "approver": ("carol", Role.APPROVER), "viewer": ("bob", Role.VIEWER)}
SCOPES = {
    "read": [KeyScope.FLAGS_READ],
    "report": [KeyScope.TELEMETRY_WRITE],
    "manage": [KeyScope.MANAGE_READ, KeyScope.MANAGE_WRITE, KeyScope.MANAGE_ADMIN],
}

SERVICE_SCOPES = [KeyScope.FLAGS_READ, KeyScope.TELEMETRY_WRITE]

GPT_4_1 = {"model": "openai/gpt-4.1", "timeout_ms": 2000, "max_attempts": 2, "max_cost_usd": "0.12"}
GPT_5 = {"model": "openai/gpt-5", "timeout_ms": 2000, "max_attempts": 3, "max_cost_usd": "0.30"}
FLASH_LITE = {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 2000, "max_attempts": 2, "max_cost_usd": "0.01"}

# Not critical: a preview model like GPT-5 may not serve a critical route's live traffic, and then there were no demo.
ROUTES: list[dict[str, Any]] = [
    {
        "key": ROUTE,
        "task_type": "extraction",
        "owner": "payments",
        "variants": {"gpt-4.1": GPT_4_1, "gpt-5": GPT_5, "flash-lite": FLASH_LITE},
        "default_variant": "gpt-4.1",
        "fallback_variant": "gpt-4.1",
    },
    {
        "key": "claim-triage",
        "task_type": "classification",
        "owner": "claims",
        "variants": {"gpt-4.1": GPT_4_1, "flash-lite": FLASH_LITE},
        "default_variant": "flash-lite",
        "fallback_variant": "gpt-4.1",
    },
]

# 40 requests a second on GPT-4.1 are about $64,000 a day: far from its limit, so that only the candidate's harm acts.
BUDGET: dict[str, Any] = {
    "scope": {"route": ROUTE},
    "period": "day",
    "limit_usd": "90000.00",
    "thresholds": [{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "fall_back"}, {"forecast": 1.0, "do": "alert"}],
}


@dataclass(frozen=True, slots=True)
class Seeded:
    demo: dict[str, Any]
    receiver_port: int


def seed(*, url: str, data: Path, now: datetime) -> Seeded:
    catalog.ensure_contenders(now=now)
    environment = ensure_environment(now)
    kept = read_private(data / "demo.json")
    demo: dict[str, Any] = {
        "url": url,
        **{part: ensure_person(part, kept.get(part), environment, now) for part in PEOPLE},
        "keys": {
            name: ensure_key(f"demo-{name}", scopes, kept.get("keys", {}).get(name), environment, now)
            for name, scopes in SCOPES.items()
        },
        "environment": ENVIRONMENT,
        "route": ROUTE,
    }
    file = data / "demo" / "keys.json"
    kept_keys = read_private(file)
    keys = {name: ensure_key(name, SERVICE_SCOPES, kept_keys.get(name), environment, now) for name in NAMES}
    write_private(file, keys)
    port = ensure_channels(data, now)
    write_private(data / "demo.json", demo)
    return Seeded(demo, port)


def ensure_environment(now: datetime) -> Environment:
    there = Environment.objects.filter(key=ENVIRONMENT).first()
    return there or access.create_environment(
        key=ENVIRONMENT, name="Production", is_production=True, by=DEMO, because=BECAUSE, now=now
    )


def ensure_person(part: str, kept: dict[str, str] | None, environment: Environment, now: datetime) -> dict[str, str]:
    username, role = PEOPLE[part]
    users = get_user_model().objects
    user = users.filter(username=username).first()
    if user is not None and kept and user.check_password(kept["password"]):
        return {"username": username, "password": kept["password"]}
    password = secrets.token_urlsafe(12)
    if user is None:
        user = users.create_user(username=username, email=f"{username}@example.com", password=password)
    else:
        user.set_password(password)
        user.save()
    access.grant(user=user, environment=environment, role=role, by=DEMO, because=BECAUSE, now=now)
    return {"username": username, "password": password}


def ensure_key(name: str, scopes: Sequence[KeyScope], kept: str | None, environment: Environment, now: datetime) -> str:
    if kept and ApiKey.objects.usable(now).filter(digest=digest_of(kept)).exists():
        return kept
    asked = [str(scope) for scope in scopes]
    _, secret = access.create_key(environment=environment, name=name, scopes=asked, by=DEMO, now=now, because=BECAUSE)
    return secret


def ensure_channels(data: Path, now: datetime) -> int:
    """The webhook's port stays the same over restarts, since its address stands in the channel."""
    file = data / "demo" / "receiver.json"
    kept = read_private(file)
    secret = str(kept.get("secret") or new_secret())
    port = int(kept.get("port") or 0)
    if not port or not is_free(port):
        port = free_port()
    config = {"url": f"http://127.0.0.1:{port}/changeover", "secret": secret}
    channel = Channel.objects.filter(environment=ENVIRONMENT, name="on-call webhook").first()
    if channel is None:
        alerts.create_channel(
            environment=ENVIRONMENT,
            kind=Channel.Kind.WEBHOOK,
            name="on-call webhook",
            config=config,
            by=DEMO,
            now=now,
            because=BECAUSE,
        )
    elif channel.config != config:
        channel.change(config=config, is_active=True)
    if not Channel.objects.filter(environment=ENVIRONMENT, name="on-call mail").exists():
        alerts.create_channel(
            environment=ENVIRONMENT,
            kind=Channel.Kind.EMAIL,
            name="on-call mail",
            config={"to": ["oncall@example.com"]},
            by=DEMO,
            now=now,
            because=BECAUSE,
        )
    write_private(file, {"secret": secret, "port": port})
    return port


def seed_routes(plane: Plane) -> None:
    for route in ROUTES:
        plane.ensure("/api/v1/routes/", {"environment": ENVIRONMENT, "because": BECAUSE, **route})
    there = plane.results("/api/v1/budgets/")
    if not any(budget.get("scope") == BUDGET["scope"] for budget in there):
        plane.post("/api/v1/budgets/", {"environment": ENVIRONMENT, "because": BECAUSE, **BUDGET})
    if not plane.results("/api/v1/rollback-plans/", route=ROUTE):
        plan = {"environment": ENVIRONMENT, "route": ROUTE, "target": "baseline", "because": BECAUSE}
        plane.post("/api/v1/rollback-plans/", plan)


def read_private(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write_private(file: Path, value: dict[str, Any]) -> None:
    """Readable by its owner only, from its first moment on; a reader never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(value, out, indent=2)
    draft.replace(file)
