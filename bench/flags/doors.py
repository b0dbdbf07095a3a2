"""The hot doors against nginx: the same load generator on both in turn, three rounds, the middle one counts."""

import json
import os
import statistics
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.access import services as access
from apps.access.models import Environment
from apps.core.actors import WORKER
from apps.flags import services as flags
from bench.flags import servers

ENVIRONMENT = "production"
ROUTES, RULES, PLAIN = 20, 20, 10  # 50 flags
VARIANTS = {
    "gpt-4.1": {"model": "openai/gpt-4.1", "timeout_ms": 8000, "max_attempts": 2, "max_cost_usd": "0.02"},
    "flash-lite": {"model": "google/gemini-2.5-flash-lite", "timeout_ms": 3000, "max_attempts": 1},
}
CONTEXT = {"plan": "team", "country": "FR", "email": "someone@mail.test"}
POLL, BULK = "/flagd/flags.json", "/ofrep/v1/evaluate/flags"
ONE = f"{BULK}/rule-0"


def rule(number: int, variants: tuple[str, str]) -> dict[str, Any]:
    """Three rules and a percentage split."""
    new, old = variants
    return {
        "if": [
            {"==": [{"var": "plan"}, "enterprise"]}, old,
            {"in": [{"var": "country"}, ["DE", "AT", "CH"]]}, old,
            {"ends_with": [{"var": "email"}, f"@example-{number}.com"]}, new,
            {"fractional": [[new, 10 + number % 20], [old, 90 - number % 20]]},
        ]
    }  # fmt: skip


def make_fifty() -> str:
    """20 routes with a split, 20 flags with three rules and a split, 10 switches. Returns a key's secret."""
    now = timezone.now() - timedelta(hours=1)
    environment = access.create_environment(
        key=ENVIRONMENT, name="Production", by=WORKER, because="a benchmark", now=now
    )
    common: dict[str, Any] = {"environment": ENVIRONMENT, "by": WORKER, "because": "a benchmark", "now": now}
    for number in range(ROUTES):
        key = f"route-{number}"
        flags.create_route(
            key=key,
            variants=VARIANTS,
            default_variant="gpt-4.1",
            fallback_variant="gpt-4.1",
            owner="payments",
            **common,
        )
        flags.change_weights(key=key, weights={"gpt-4.1": 9000, "flash-lite": 1000}, **common)
    for number in range(RULES):
        variants = {"new": f"parser-{number}", "old": "parser"}
        targeting = rule(number, ("new", "old"))
        flags.create_flag(key=f"rule-{number}", variants=variants, default_variant="old", targeting=targeting, **common)
    for number in range(PLAIN):
        flags.create_flag(key=f"plain-{number}", variants={"on": True, "off": False}, default_variant="off", **common)
    return make_key(environment)


def make_key(environment: Environment) -> str:
    _, secret = access.create_key(
        environment=environment,
        name="bench",
        scopes=["flags:read"],
        by=WORKER,
        now=timezone.now(),
        because="a benchmark",
    )
    return secret


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    varies: bool = False  # another targetingKey in each request: nothing can be answered from a cache
    yardstick: str = "/flags.json"


def script(folder: Path, case: Case) -> Path:
    lines = [f"wrk.method = {json.dumps(case.method)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in case.headers.items()]
    if case.body is not None:
        body = json.dumps(case.body)
        if case.varies:
            before, after = body.split("KEY")
            lines += [
                "local n = 0",
                "request = function()",
                "  n = n + 1",
                f"  return wrk.format(nil, nil, nil, {json.dumps(before)} .. n .. {json.dumps(after)})",
                "end",
            ]
        else:
            lines.append(f"wrk.body = {json.dumps(body)}")
    file = folder / f"{case.name}.lua"
    file.write_text("\n".join(lines) + "\n")
    return file


def cases(port: int, secret: str) -> list[Case]:
    key = {"Authorization": f"Bearer {secret}"}
    told = key | {"Content-Type": "application/json"}
    each = {"context": {"targetingKey": "user-KEY", **CONTEXT}}
    same = {"context": {"targetingKey": "user-1", **CONTEXT}}
    status, poll, whole = servers.ask(port, "GET", POLL, headers=key)
    assert status == 200 and len(json.loads(whole)["flags"]) == ROUTES + RULES + PLAIN, status
    status, bulk, answer = servers.ask(port, "POST", BULK, json.dumps(same).encode(), told)
    assert status == 200 and len(json.loads(answer)["flags"]) == ROUTES + RULES + PLAIN, status
    status, _, answer = servers.ask(port, "POST", ONE, json.dumps(same).encode(), told)
    assert status == 200 and json.loads(answer)["variant"] in ("new", "old"), answer
    assert servers.ask(port, "GET", POLL, headers={"Authorization": "Bearer nobody's"})[0] == 401
    known, seen = key | {"If-None-Match": poll["etag"]}, told | {"If-None-Match": bulk["etag"]}
    assert servers.ask(port, "GET", POLL, headers=known)[0] == 304
    assert servers.ask(port, "POST", BULK, json.dumps(same).encode(), seen)[0] == 304
    return [
        Case("304", "GET", POLL, known),
        Case("poll", "GET", POLL, key | {"Accept-Encoding": "gzip"}, yardstick="/flags.json.gz"),
        Case("poll-plain", "GET", POLL, key),
        Case("one", "POST", ONE, told, each, varies=True),
        Case("bulk", "POST", BULK, told, each, varies=True),
        Case("bulk-again", "POST", BULK, told, same),
        Case("bulk-304", "POST", BULK, seen, same),
    ]


def measure(seconds: int, rounds: int) -> dict[str, Any]:
    secret = make_fifty()
    with tempfile.TemporaryDirectory(prefix="changeover-bench-", dir="/tmp") as scratch:
        folder = Path(scratch)
        data = Path(os.environ["DATA_DIR"])
        with servers.web(data) as ours:
            asked = cases(ours.port, secret)
            key = {"Authorization": f"Bearer {secret}"}
            plain = servers.ask(ours.port, "GET", POLL, headers=key)[2]
            packed = servers.ask(ours.port, "GET", POLL, headers=key | {"Accept-Encoding": "gzip"})[2]
            assert len(packed) < len(plain)
            sizes = {"bytes": len(plain), "packed_bytes": len(packed)}
            with servers.nginx(folder, {"flags.json": plain, "flags.json.gz": packed}) as yardstick:
                return sizes | compared(folder, ours, yardstick, asked, seconds, rounds)


def compared(
    folder: Path, ours: servers.Served, yardstick: servers.Served, asked: list[Case], seconds: int, rounds: int
) -> dict[str, Any]:
    plain = script(folder, Case("nginx", "GET", "/flags.json", {}))
    scripts = {case.name: script(folder, case) for case in asked}
    found: dict[str, list[tuple[float, float, float, float]]] = {case.name: [] for case in asked}
    measured: list[servers.Load] = []
    for case in asked:
        servers.wrk(ours, scripts[case.name], case.path, 1)  # warm
    for _ in range(rounds):
        for case in asked:
            # The yardstick right before each, so that both meet the same moment of the machine.
            base = servers.wrk(yardstick, plain, case.yardstick, 1)
            load = servers.wrk(ours, scripts[case.name], case.path, seconds)
            measured.append(base)
            found[case.name].append((load.cpu_us / base.cpu_us, load.rate / base.rate, load.cpu_us, load.rate))
    middle = {name: [statistics.median(part) for part in zip(*rows, strict=True)] for name, rows in found.items()}
    return {
        "rows": middle,
        "nginx": [
            statistics.median(load.cpu_us for load in measured),
            statistics.median(load.rate for load in measured),
        ],
    }
