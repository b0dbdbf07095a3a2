"""`/metrics`: what all processes counted, and what the tables said when they were last asked. No scrape asks them."""

import asyncio
import hmac
from collections.abc import Iterable

from django.conf import settings
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

from apps.access import serving as access
from apps.core import metrics
from apps.core.asgi import Door, Receive, Scope, Send, answer, header, problem
from controlplane import facts

shown = CollectorRegistry()
shown.register(metrics.told)
shown.register(facts.facts)


async def door(scope: Scope, receive: Receive, send: Send) -> int:
    if settings.METRICS_TOKEN and not is_known(access.bearer(scope)):
        challenge = (b"www-authenticate", b"Bearer")
        return await problem(send, 401, "unauthorized", "Send METRICS_TOKEN: Authorization: Bearer …", challenge)
    encode, kind = choose_encoder((header(scope, b"accept") or b"").decode("latin-1"))

    def text() -> bytes:
        facts.tell_own()
        return encode(shown)

    body = await asyncio.to_thread(text)
    return await answer(send, 200, body, (b"content-type", kind.encode()), (b"cache-control", b"no-store"))


def is_known(secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(secret.encode(), settings.METRICS_TOKEN.encode())


def collect_own() -> Iterable[Metric]:
    """For whoever sends it elsewhere: what this process counted, and the facts."""
    facts.tell_own()
    return [*metrics.own.collect(), *facts.facts.collect()]


DOORS: dict[tuple[str, str], Door] = {("GET", "/metrics"): door}
