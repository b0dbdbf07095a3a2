"""An evening in production, through the real doors: ten routes, one of which is rolled back two minutes ago.

`tell(now)` begins an hour and a half earlier, lets a minute of traffic and a tick follow one another, ends at `now`.
"""

import json
import math
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.access.models import Environment
from apps.alerts import services as alerts
from apps.budgets import services as budgets
from apps.catalog import services as catalog
from apps.core import actors
from apps.core.ids import new_id
from apps.flags import queries as flag_queries
from apps.flags import services as flags
from apps.rollouts import services as rollouts
from apps.rollouts.models import Decision, Rollout
from apps.telemetry import services as telemetry
from apps.telemetry.domain import batch
from apps.telemetry.memory import WriterMemory

MODELS = {
    "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 12000, "max_attempts": 2, "max_cost_usd": "0.12"},
    "gpt-5": {"model": "openai/gpt-5", "timeout_ms": 12000, "max_attempts": 2, "max_cost_usd": "0.30"},
    "flash-lite": {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 4000, "max_attempts": 2},
    "sonnet": {"model": "anthropic/claude-sonnet-4-5", "timeout_ms": 12000, "max_attempts": 2},
}
COST = {"gpt-4.1": 0.0184, "gpt-5": 0.0287, "flash-lite": 0.00095, "sonnet": 0.0203}
ALICE, TOM, INES = actors.person("alice"), actors.person("tomas"), actors.person("ines")
MINUTE = timedelta(minutes=1)


@dataclass
class Plan:
    key: str
    owner: str
    default: str
    candidate: str = ""
    stages: list = field(default_factory=list)
    p95: dict = field(default_factory=dict)  # seconds, by variant
    per_minute: int = 30
    errors: float = 0.004
    p95_limit: float | None = None
    tolerance: float = 0.19
    budget: float = 1.35  # times what the baseline would spend


def quick(*shares, hold=None, approval_at=None, samples=40):
    """Each stage five minutes, up to `hold`, which lasts."""
    return [
        {
            "share": share,
            "min_seconds": 14_400 if share == hold else 300,
            "min_samples": samples,
            **({"approval": True} if share == approval_at else {}),
        }
        for share in shares
    ]


INVOICE = Plan(
    "invoice-extraction",
    "payments",
    "gpt-4.1",
    "gpt-5",
    quick(1, 5, 10, 25, 50, 100, hold=25, samples=10),
    {"gpt-4.1": 2.15, "gpt-5": 2.2},
    90,
)
EMAIL = Plan(
    "email-tagging",
    "growth",
    "gpt-4.1",
    "flash-lite",
    quick(10, 25, 50, 100, hold=50),
    {"gpt-4.1": 0.7, "flash-lite": 0.41},
    40,
    0.002,
)
PLANS = [
    INVOICE,
    EMAIL,
    Plan(
        "support-triage",
        "support",
        "gpt-4.1",
        "flash-lite",
        quick(5, 25, 100, samples=2000),
        {"gpt-4.1": 1.6, "flash-lite": 0.89},
    ),
    Plan(
        "kyc-document-check",
        "risk",
        "gpt-4.1",
        "sonnet",
        quick(25, 50, 100, approval_at=50),
        {"gpt-4.1": 3.6, "sonnet": 3.5},
    ),
    Plan(
        "dispute-letter-draft",
        "claims",
        "gpt-4.1",
        "sonnet",
        quick(10, 50, 100, hold=10),
        {"gpt-4.1": 5.1, "sonnet": 5.2},
        20,
        0.01,
    ),
    Plan(
        "merchant-search-rewrite",
        "search",
        "gpt-4.1",
        "flash-lite",
        [{"shadow": 20, "min_seconds": 14 * 86400}, *quick(1, 10, 100)],
        {"gpt-4.1": 0.56, "flash-lite": 0.33},
    ),
    Plan("chat-handoff-summary", "support", "gpt-4.1", p95={"gpt-4.1": 2.41}),
    Plan("ledger-memo-tags", "finance", "flash-lite", p95={"flash-lite": 0.36}),
    Plan("payout-anomaly-notes", "finance", "sonnet", p95={"sonnet": 5.58}, errors=0.007),
    Plan(
        "contract-summary",
        "legal",
        "sonnet",
        "gpt-5",
        quick(5, 25, 100, hold=5),
        {"sonnet": 6.1, "gpt-5": 6.3},
        20,
        0.008,
    ),
]


def tell(now: datetime, *, environment: str = "production") -> Decision:
    """Ends with the rollback; gives its decision."""
    plans, length = PLANS, 90
    dice = random.Random(4117)
    begin = now - length * MINUTE
    make(plans, environment, begin, length)
    harm_at, writer = now - 9 * MINUTE, WriterMemory()
    for minute in range(length):
        at = begin + (minute + 1) * MINUTE
        if minute == 12:
            start(plans, environment, at)
        calls = [call for plan in plans for call in minute_of(plan, environment, at, dice, is_harmful=at > harm_at)]
        send(environment, calls, writer, at)
        for second in (0, 20, 40):
            moment = at + timedelta(seconds=second - 20)
            rollouts.tick(now=moment)
            rollouts.run_due_steps(now=moment)
        alerts.read_journal(at)
        rollouts.run_due_steps(now=at + timedelta(seconds=3))
        meanwhile(environment, minute, at)
    rollouts.run_due_steps(now=now)
    alerts.read_journal(now)
    return Decision.objects.filter(environment=environment, kind="roll_back").latest("at")


def go_on(now: datetime, *, environment: str = "production") -> None:
    """One more minute of calls, so that what is told stays fresh."""
    dice = random.Random(4118)
    calls = [call for plan in PLANS for call in minute_of(plan, environment, now, dice, is_harmful=False)]
    send(environment, calls, WriterMemory(), now)


def make(plans: list[Plan], environment: str, at: datetime, length: int) -> None:
    catalog.ensure_contenders(now=at)
    Environment.objects.get_or_create(
        key=environment, defaults={"name": "Production", "is_production": True, "created_at": at}
    )
    for plan in plans:
        variants = {
            name: MODELS[name] for name in dict.fromkeys([plan.default, *filter(None, [plan.candidate]), "gpt-4.1"])
        }
        flags.create_route(
            environment=environment,
            key=plan.key,
            variants=variants,
            default_variant=plan.default,
            fallback_variant="gpt-4.1",
            owner=plan.owner,
            by=ALICE,
            because="first route of the team",
            now=at,
        )
        spend = COST[plan.default] * plan.per_minute * length  # as if the month had these minutes only
        budgets.create_budget(
            environment=environment,
            scope={"route": plan.key},
            period="month",
            limit_nano=int(spend * plan.budget * 1e9),
            thresholds=[{"at": 0.8, "do": "alert"}, {"at": 1.0, "do": "hold"}],
            by=ALICE,
            because="as agreed with finance",
            now=at,
        )


def start(plans: list[Plan], environment: str, at: datetime) -> None:
    for plan in plans:
        if not plan.candidate:
            continue
        guardrails = [
            {"metric": "latency_p95", "against": "baseline", "tolerance": plan.tolerance, "on_breach": "roll_back"},
            {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
            {"metric": "cost_per_request", "limit_usd": "0.10", "on_breach": "roll_back"},
        ]
        rollout = rollouts.create(
            environment=environment,
            route=plan.key,
            candidate=plan.candidate,
            stages=plan.stages,
            guardrails=guardrails,
            by=ALICE,
            because=f"{plan.candidate} looked well in shadow",
            now=at,
        )
        rollouts.start(rollout=rollout, by=ALICE, because="planned with the team", now=at)


def meanwhile(environment: str, minute: int, at: datetime) -> None:
    if minute == 40:
        rollout = Rollout.objects.get(environment=environment, route="dispute-letter-draft")
        rollouts.pause(rollout=rollout, by=INES, because="tone of two letters is being looked at", now=at)


def minute_of(plan: Plan, environment: str, at: datetime, dice: random.Random, *, is_harmful: bool) -> list[dict]:
    view = flag_queries.route(environment, plan.key)
    version = flag_queries.snapshot(environment).version
    running = Rollout.objects.live().filter(environment=environment, route=plan.key).exists()
    calls = []
    for variant, weight in view.weights.items():
        n = round(plan.per_minute * weight / 10_000 + dice.random() - 0.5)
        for _ in range(n):
            p95 = plan.p95.get(variant, 1.0)
            if is_harmful and plan is INVOICE and variant == plan.candidate:
                p95 *= 2.05
            calls.append(call_of(plan, variant, p95, version, at, dice, by="split" if running else "default"))
    if view.shadow:
        variant = view.shadow["variant"]
        for _ in range(round(plan.per_minute * view.shadow["percent"] / 100)):
            calls.append(call_of(plan, variant, plan.p95[variant], version, at, dice, by="split", arm="shadow"))
    return calls


def call_of(
    plan: Plan, variant: str, p95: float, version: int, at: datetime, dice: random.Random, *, by: str, arm: str = "live"
) -> dict:
    latency = p95 / math.exp(1.645 * 0.35) * math.exp(dice.gauss(0, 0.35))
    ended = at - timedelta(seconds=dice.random() * 59.9)
    provider, _, model = MODELS[variant]["model"].partition("/")
    return {
        "id": new_id(),
        "request_id": new_id(),
        "route": plan.key,
        "variant": variant,
        "assigned": variant,
        "assigned_by": by,
        "at": (ended - timedelta(seconds=latency)).isoformat(),
        "latency_ms": round(latency * 1000, 1),
        "provider": provider,
        "model": model,
        "final": True,
        "arm": arm,
        "snapshot": version,
        "cost_usd": f"{COST[variant] * dice.uniform(0.8, 1.2):.6f}",
        "error": "timeout" if dice.random() < plan.errors else None,
    }


def send(environment: str, calls: list[dict], writer: WriterMemory, now: datetime) -> None:
    services = ["invoices", "mailroom", "backoffice"]
    version = flag_queries.snapshot(environment).version
    for name in services:
        client = {"name": name, "sdk": "changeover-python/1.0", "snapshot": version}
        flags.note_seen(environment=environment, client=client, exposures=[], now=now)
    for part in range(0, len(calls), 500):
        read = batch.read(json.dumps({"batch_id": new_id(), "calls": calls[part : part + 500]}).encode(), now)
        assert not read.rejected, read.rejected[:1]
        telemetry.count(sent=[telemetry.Sent(environment, read)], writer=writer, now=now)
