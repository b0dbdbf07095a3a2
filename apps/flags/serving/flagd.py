"""GET /flagd/flags.json: the environment's snapshot in flagd's own format, whole, from memory."""

from apps.core.asgi import Receive, Scope, Send, header, problem
from apps.flags.serving import asking
from apps.flags.serving.held import Form, Held
from apps.flags.serving.readers import readers


async def flags_json(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        grant = asking.grant_of(scope)
    except asking.Denied as denied:
        return await problem(send, denied.status, denied.code, denied.detail, *denied.headers)
    held = await asking.held_of(grant)
    if held is None:
        return await problem(send, 503, "no_snapshot", "This process has no snapshot yet.", (b"retry-after", b"2"))
    tags, gzip = asking.tags_of(scope), asking.takes_gzip(scope)
    form, known = forms(held, tags, gzip)
    if tags and known is None and (named := asking.named_version(tags)) > held.version:
        held = await asking.newer(held, named)
        form, known = forms(held, tags, gzip)
    readers.note("flagd", grant, header(scope, b"user-agent"), held.version)
    age = asking.age_of(held)
    if known is not None:
        await send({"type": "http.response.start", "status": 304, "headers": known.not_modified + age})
        return await send({"type": "http.response.body", "body": b""})
    await send({"type": "http.response.start", "status": 200, "headers": form.headers + age})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else form.body})


def forms(held: Held, tags: list[bytes], gzip: bool) -> tuple[Form, Form | None]:
    """The form that this caller takes, and the one that it has already, whichever that is."""
    form, other = (held.packed, held.plain) if gzip else (held.plain, held.packed)
    if not tags:
        return form, None
    if asking.matches(tags, form.etag):
        return form, form
    return form, other if asking.matches(tags, other.etag) else None
