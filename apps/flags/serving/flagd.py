"""GET /flagd/flags.json: the environment's snapshot in flagd's own format, whole, from memory."""

from apps.core.asgi import NO_BODY, Receive, Scope, Send, problem
from apps.flags.serving import asking
from apps.flags.serving.held import Form, Held
from apps.flags.serving.readers import readers
from apps.flags.serving.shelf import shelf


async def flags_json(scope: Scope, receive: Receive, send: Send) -> int:
    given = dict(scope["headers"])  # one pass: services poll this by the thousand
    try:
        grant = asking.grant_of(scope, given)
    except asking.Denied as denied:
        return await problem(send, denied.status, denied.code, denied.detail, *denied.headers)
    held = shelf.get(grant.environment) or await asking.held_of(grant)
    if held is None:
        return await problem(send, 503, "no_snapshot", "This process has no snapshot yet.", (b"retry-after", b"2"))
    gzip, tag = asking.takes_gzip(given.get(b"accept-encoding")), given.get(b"if-none-match")
    form: Form = held.packed if gzip else held.plain
    known: Form | None = None
    if tag == form.etag:
        known = form
    elif tag is not None:
        held, form, known = await compared(held, asking.tags_of(scope), gzip)
    readers.note("flagd", grant, given.get(b"user-agent"), held.version)
    if known is not None:
        await send(asking.aged(known.not_modified, held))
        await send(NO_BODY)
        return 304
    await send(asking.aged(form.start, held))
    await send(NO_BODY if scope["method"] == "HEAD" else form.rest)
    return 200


async def compared(held: Held, tags: list[bytes], gzip: bool) -> tuple[Held, Form, Form | None]:
    """The snapshot, the form of it that this caller takes, and the one that it has already, whichever that is."""
    form, known = forms(held, tags, gzip)
    if known is None and (named := asking.named_version(tags)) > held.version:
        held = await asking.newer(held, named)
        form, known = forms(held, tags, gzip)
    return held, form, known


def forms(held: Held, tags: list[bytes], gzip: bool) -> tuple[Form, Form | None]:
    form, other = (held.packed, held.plain) if gzip else (held.plain, held.packed)
    return form, next((one for one in (form, other) if asking.matches(tags, one.etag)), None)
