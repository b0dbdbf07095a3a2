"""The hot doors of flags. They answer from memory and never touch the database on the event loop."""

import asyncio

from django.conf import settings

from apps.core.asgi import Door
from apps.flags.serving import changes as change_stream
from apps.flags.serving import cors, events, flagd, ofrep
from apps.flags.serving.changes import changes
from apps.flags.serving.counting import counter
from apps.flags.serving.readers import readers
from apps.flags.serving.refusing import refusals
from apps.flags.serving.shelf import shelf

WHOLE_PATHS: dict[tuple[str, str], Door] = {
    ("GET", "/flagd/flags.json"): flagd.flags_json,
    ("HEAD", "/flagd/flags.json"): flagd.flags_json,
    ("POST", ofrep.BULK): ofrep.evaluate_all,
    ("POST", ofrep.ONE): ofrep.evaluate_all,
    ("GET", "/api/v1/changes"): change_stream.door,
    ("GET", events.PATH): events.door,
}
STREAMS = {("GET", "/api/v1/changes"), ("GET", events.PATH)}  # of these doors: they last for hours
DOORS = cors.doors_for(settings.CORS_ALLOWED_ORIGINS, WHOLE_PATHS)
PREFIX_DOORS = list(cors.doors_for(settings.CORS_ALLOWED_ORIGINS, {("POST", ofrep.ONE): ofrep.evaluate_one}).items())


def start(loop: asyncio.AbstractEventLoop) -> None:
    """Before the first look: where readers of the change stream wait."""
    changes.start(loop)
    events.events.start(loop)


def load_disk_copy() -> bool:
    """Before the first look: what the last process served. Whether there is any."""
    return shelf.load_disk()


def refresh() -> None:
    """For the refresher's thread: newer snapshots in, counted exposures, refusals and readers out."""
    shelf.refresh()
    counter.flush_if_due()
    refusals.flush_if_due()
    readers.flush_if_due()


def is_loaded() -> bool:
    """Every environment of the database has been compiled by this process."""
    return shelf.is_complete


def doubts() -> list[str]:
    """Where what is served is not what the database has, and what to do."""
    return [shelf.doubts[key] for key in sorted(shelf.doubts)]


def lag_seconds() -> int:
    """For how long the database has not confirmed what is served, in the environment that waits longest; 0: it does."""
    return max((shelf.age(environment) for environment in list(shelf.held)), default=0)


def end_streams() -> None:
    """At the stop signal, on the event loop: readers come back to another process."""
    changes.end()
    events.events.end()


def stop() -> None:
    """When the doors are closed, off the event loop: the last counts are written."""
    counter.flush()
