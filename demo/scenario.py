"""The story: a dearer model goes live, is rolled back by itself, and a cheaper one then takes the whole route.

Everything is asked of the management API as a script would; every number that is printed was measured on the way.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx2

import changeover
from demo import history
from demo.plane import Plane, share_of
from demo.saying import say
from demo.seed import ROUTE
from demo.service import NAMES

BASELINE, BAD, GOOD = "gpt-4.1", "gpt-5", "flash-lite"
LIVE_BEFORE_SECONDS = 15.0
LIVE_BEFORE_REQUESTS = 300
AFTER_SECONDS = 30.0
PAUSE_SECONDS = 15.0
ENDED = {"rolled_back", "finished", "aborted"}
STAGE = {"min_seconds": 15, "min_samples": 100}

T = TypeVar("T")


class OutOfTime(Exception):
    pass


@dataclass
class Watcher:
    """A service of its own that polls the flag document ten times a second and notes when a share changed."""

    plane: Plane
    variant: str
    seen: list[tuple[datetime, float, int]] = field(default_factory=list)
    versions: dict[int, datetime] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        # An onlooker, which is none of the services: it says so, or it would be listed as a client.
        headers = {"authorization": f"Bearer {self.plane.keys['read']}", "user-agent": "changeover-demo"}
        with httpx2.Client(base_url=self.plane.url, timeout=2, trust_env=False) as http:
            while not self.stopping.wait(0.1):
                try:
                    answer = http.get("/flagd/flags.json", headers=headers)
                    if answer.status_code == 304:
                        continue
                    answer.raise_for_status()
                    document = answer.json()
                except (httpx2.HTTPError, ValueError):
                    continue
                headers["if-none-match"] = answer.headers.get("etag", "")
                self.note(document, datetime.now(UTC))

    def note(self, document: dict[str, Any], now: datetime) -> None:
        version = int((document.get("metadata") or {}).get("version") or 0)
        self.versions.setdefault(version, now)
        share = share_of(document, route=ROUTE, variant=self.variant)
        if not self.seen or self.seen[-1][1] != share:
            self.seen.append((now, share, version))

    def zero_again_at(self) -> datetime | None:
        """When the share fell back to 0 after it had been more."""
        had_share = False
        for at, share, _ in self.seen:
            if share:
                had_share = True
            elif had_share:
                return at
        return None


@dataclass(frozen=True, slots=True)
class Span:
    """Windows are ten seconds long: whole ones lie inside."""

    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


class Story:
    def __init__(self, plane: Plane, *, data: Path, seed: int, file: Path | None) -> None:
        self.plane = plane
        self.data = data
        self.seed = seed
        self.file = file

    def was_told(self) -> bool:
        return bool(self.plane.results("/api/v1/rollouts/", route=ROUTE))

    def play(self) -> None:
        self.remember_half_an_hour()
        began = self.wait_for_traffic()
        before = Span(began, datetime.now(UTC))
        cost = self.baseline_cost()
        self.bad_candidate(cost)
        say(f"The next rollout begins in {PAUSE_SECONDS:.0f} s: time to look around.")
        time.sleep(PAUSE_SECONDS)
        self.good_candidate(cost, before)

    # Before

    def choice(self) -> changeover.Resolved:
        """What the flag says of the route to one who asks now."""
        with changeover.Client(self.plane.url, self.plane.keys["read"], name="demo", remote=True) as client:

            def answered() -> changeover.Resolved | None:
                resolved = client.resolve(ROUTE)
                return resolved if resolved.variant else None

            return wait_until(answered, seconds=60, what=f"an answer about {ROUTE}")

    def remember_half_an_hour(self) -> None:
        began = time.monotonic()
        sent = history.send(self.plane, choice=self.choice(), seed=self.seed, file=self.file)
        say(
            f"{sent:,} generated calls of the last 30 minutes went through the telemetry door with a past `at` in "
            f"{time.monotonic() - began:.1f} s: a baseline mark is frozen from history, and a demo has none of its own."
        )

    def services(self) -> list[dict[str, Any]]:
        found = []
        for name in NAMES:
            try:
                found.append(json.loads((self.data / "demo" / f"{name}.json").read_text()))
            except (OSError, ValueError):
                continue
        return found

    def wait_for_traffic(self) -> datetime:
        began = datetime.now(UTC)
        before = sum(service["requests"] for service in self.services())

        def enough() -> bool:
            served = sum(service["requests"] for service in self.services()) - before
            return served >= LIVE_BEFORE_REQUESTS and (datetime.now(UTC) - began).total_seconds() >= LIVE_BEFORE_SECONDS

        wait_until(enough, seconds=120, what="live traffic")
        served = sum(service["requests"] for service in self.services()) - before
        seconds = (datetime.now(UTC) - began).total_seconds()
        say(f"Two services, invoices and claims, send live traffic: {served / seconds:.0f} requests/s on {BASELINE}.")
        return began

    def baseline_cost(self) -> Decimal:
        """What a request costs now: the plan that a candidate is held to."""
        now = datetime.now(UTC)
        return Decimal(self.measured(now - timedelta(minutes=30), now)[BASELINE]["cost_per_1k_usd"]) / 1000

    def measured(self, since: datetime, until: datetime) -> dict[str, dict[str, Any]]:
        """Live requests between two moments, by variant."""
        path = f"/api/v1/routes/{ROUTE}/measured/"
        rows = self.plane.get(path, environment=self.plane.environment, **span(since, until))
        return {row["variant"]: row for row in rows}

    # The bad candidate

    def start_rollout(self, candidate: str, shares: list[int], cost: Decimal, because: str) -> dict[str, Any]:
        body = {
            "environment": self.plane.environment,
            "route": ROUTE,
            "candidate": candidate,
            "because": because,
            "stages": [{"share": share, **STAGE} for share in shares],
            "guardrails": [
                {"metric": "latency_p95", "against": "baseline", "tolerance": 0.19, "on_breach": "roll_back"},
                {"metric": "latency_p95", "limit_ms": 1500, "on_breach": "roll_back"},
                {"metric": "error_rate", "against": "baseline", "tolerance": 0.25, "on_breach": "roll_back"},
                {"metric": "cost_per_request", "limit_usd": f"{cost * Decimal('1.2'):.6f}", "on_breach": "roll_back"},
            ],
        }
        rollout: dict[str, Any] = self.plane.post("/api/v1/rollouts/", body)
        self.plane.post(f"/api/v1/rollouts/{rollout['id']}/start/", {"because": because})
        return rollout

    def bad_candidate(self, cost: Decimal) -> None:
        watcher = Watcher(self.plane, BAD)
        watcher.start()
        began = datetime.now(UTC)
        rollout = self.start_rollout(BAD, [10, 50, 100], cost, "GPT-5 reads difficult invoices better, they say.")
        say(f"A rollout of {BAD} is live at 10 %. Limits: p95 + 19 %, errors + 25 %, cost per request + 20 %.")
        ended = self.follow(rollout["id"], seconds=300)
        watcher_saw = wait_until(watcher.zero_again_at, seconds=30, what="share 0 at a polling service")
        watcher.stopping.set()
        if ended != "rolled_back":
            say(f"The rollout of {BAD} ended as {ended}.")
            return
        decision = self.decision(rollout["id"], "roll_back")
        decided_at = datetime.fromisoformat(decision["at"])
        say(decision["sentence"])
        bad = [datetime.fromisoformat(s["first_bad"][BAD]) for s in self.services() if BAD in s["first_bad"]]
        if bad:
            seconds = (watcher_saw - min(bad)).total_seconds()
            say(f"{seconds:.1f} s from the first bad answer to share 0, as a service saw it that polls the flags.")
        say(f"{(watcher_saw - decided_at).total_seconds():.2f} s of it from the decision to the snapshot being served.")
        self.say_money(began)
        self.check_alert(began)
        say(f"What happened and why: {self.plane.url}/d/{decision['id']}")

    def follow(self, rollout: str, *, seconds: float) -> str:
        """Says each change of the rollout until it has ended."""
        said = ""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.plane.get(f"/api/v1/rollouts/{rollout}/")
            words = f"{now['state']} at {now['share']:g} %"
            if words != said and now["state"] not in ENDED:
                say(f"{now['candidate']} is {words}.")
            said = words
            if now["state"] in ENDED:
                return str(now["state"])
            time.sleep(0.5)
        raise OutOfTime(f"the rollout has not ended within {seconds:.0f} s; look at {self.plane.url}/")

    def decision(self, rollout: str, kind: str) -> dict[str, Any]:
        for decision in self.plane.results("/api/v1/decisions/", rollout=rollout, kind=kind):
            return decision
        raise OutOfTime(f"no decision {kind} of rollout {rollout}")

    def say_money(self, since: datetime) -> None:
        time.sleep(3)  # the last time-outs are still on their way
        spend = self.plane.results("/api/v1/spend/", by="route,variant", step="all", **span(since, datetime.now(UTC)))
        for row in spend:
            if row["route"] == ROUTE and row["variant"] == BAD:
                confirmed, estimated = Decimal(row["confirmed_usd"]), Decimal(row["estimated_usd"])
                say(
                    f"The {row['calls']} calls of {BAD} cost ${confirmed:.2f} confirmed by their usage, and "
                    f"${estimated:.2f} estimated for those that timed out or failed and told none."
                )

    def check_alert(self, since: datetime) -> None:
        def webhook() -> datetime | None:
            for line in lines_of(self.data / "webhooks.jsonl"):
                delivery = json.loads(line)
                at = datetime.fromisoformat(delivery["received_at"])
                if at >= since and ROUTE in json.dumps(delivery["message"]):
                    return at
            return None

        def mail() -> Path | None:
            for file in sorted((self.data / "mail").glob("*")):
                if file.stat().st_mtime >= since.timestamp() and ROUTE in file.read_text(errors="replace"):
                    return file
            return None

        try:
            wait_until(webhook, seconds=60, what="the webhook's alert")
            say(f"The alert arrived at the webhook receiver, signed; see {self.data / 'webhooks.jsonl'}.")
            say(f"The mail to the person on call: {wait_until(mail, seconds=60, what='the mail')}")
        except OutOfTime as error:
            say(f"Not seen in time: {error}.")

    # The good candidate

    def good_candidate(self, cost: Decimal, before: Span) -> None:
        rollout = self.start_rollout(GOOD, [10, 50, 100], cost, "Flash-Lite is built for fields like these.")
        say(f"A rollout of {GOOD} is live at 10 %, with the same limits.")
        ended = self.follow(rollout["id"], seconds=600)
        if ended != "finished":
            say(f"The rollout of {GOOD} ended as {ended}.")
            for decision in self.plane.results("/api/v1/decisions/", route=ROUTE)[:1]:
                say(decision["sentence"])
            return
        time.sleep(3)  # what was answered by the baseline is on its way
        began = datetime.now(UTC)
        say(f"{GOOD} serves the whole route. Measuring {AFTER_SECONDS:.0f} s of it.")
        time.sleep(AFTER_SECONDS)
        self.say_table(before, Span(began, datetime.now(UTC)))

    def say_table(self, before: Span, after: Span) -> None:
        time.sleep(3)  # the last reports
        for line in table(
            (BASELINE, self.measured(before.since, before.until).get(BASELINE), before.seconds),
            (GOOD, self.measured(after.since, after.until).get(GOOD), after.seconds),
        ):
            say(line)


def span(start: datetime, end: datetime) -> dict[str, str]:
    return {"from": start.isoformat(), "to": end.isoformat()}


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def wait_until(question: Callable[[], T | None], *, seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise OutOfTime(f"{what}, within {seconds:.0f} s")


Column = tuple[str, dict[str, Any] | None, float]


def table(*columns: Column) -> list[str]:
    """Before and after, side by side: per column a variant, what was measured of it, and over how many seconds."""

    def line(name: str, of: Callable[[dict[str, Any], float], str]) -> str:
        cells = (of(row, seconds) if row else "not seen" for _, row, seconds in columns)
        return f"{name:<34}" + "".join(f"{cell:>14}" for cell in cells)

    return [
        f"{'':<34}" + "".join(f"{variant:>14}" for variant, _, _ in columns),
        line("median latency", lambda row, _: milliseconds(row["p50_ms"])),
        line("p95 latency", lambda row, _: milliseconds(row["p95_ms"])),
        line("cost per 1,000 requests", lambda row, _: f"${Decimal(row['cost_per_1k_usd'] or 0):.2f}"),
        line("handoffs per 10,000 requests", lambda row, seconds: f"{handoff_share(row, seconds) * 10_000:.0f}"),
        line("handoffs per day at this traffic", lambda row, _: f"{row['handoffs_per_day'] or 0:,.0f}"),
        line("requests measured", lambda row, _: f"{row['requests']:,}"),
    ]


def milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"


def handoff_share(row: dict[str, Any], seconds: float) -> float:
    return float(row["handoffs_per_day"] or 0) * seconds / 86_400 / max(1, int(row["requests"]))
