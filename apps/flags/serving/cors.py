"""Flag doors for browsers of other sites, whose origins `CORS_ALLOWED_ORIGINS` names. Never the management API.

A key travels in a header that the page sets itself, never in a cookie: credentials are not allowed, so an origin may
also be `*`.
"""

from collections.abc import Mapping

from apps.core.asgi import NO_BODY, Door, Header, Message, Receive, Scope, Send, header, problem

ALLOWED: list[Header] = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        b"Authorization, X-API-Key, Content-Type, If-None-Match, Last-Event-ID, Cache-Control",
    ),
    (b"access-control-max-age", b"7200"),
]
SEEN: Header = (b"access-control-expose-headers", b"ETag, Retry-After, X-Snapshot-Age")
VARY: Header = (b"vary", b"Origin")


class Origins:
    """The origins that may read the doors, as `scheme://host[:port]` or `*`."""

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = {origin.rstrip("/").encode() for origin in allowed}

    def allow(self, scope: Scope) -> list[Header]:
        """The header that lets this caller's page read the answer; none if it may not, or is no page."""
        origin = header(scope, b"origin")
        if origin is None or not self.allowed & {origin, b"*"}:
            return []
        return [(b"access-control-allow-origin", b"*" if b"*" in self.allowed else origin)]

    def shared(self, door: Door) -> Door:
        async def open_to_others(scope: Scope, receive: Receive, send: Send) -> int:
            allowed = self.allow(scope)
            more = [*allowed, SEEN, VARY] if allowed else [VARY]

            async def send_shared(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = message | {"headers": [*message["headers"], *more]}
                await send(message)

            return await door(scope, receive, send_shared)

        return open_to_others

    async def preflight(self, scope: Scope, receive: Receive, send: Send) -> int:
        """What a browser asks before it sends a key: no key is needed to answer."""
        allowed = self.allow(scope)
        if not allowed:
            return await problem(send, 403, "origin_not_allowed", "CORS_ALLOWED_ORIGINS does not name it.", VARY)
        await send({"type": "http.response.start", "status": 204, "headers": [*allowed, *ALLOWED, VARY]})
        await send(NO_BODY)
        return 204


def doors_for(allowed: list[str], doors: Mapping[tuple[str, str], Door]) -> dict[tuple[str, str], Door]:
    """The same doors, open to pages of these origins too; unchanged where none is named."""
    if not allowed:
        return dict(doors)
    origins = Origins(allowed)
    shared = {place: origins.shared(door) for place, door in doors.items()}
    return shared | {("OPTIONS", path): origins.preflight for _, path in doors}
