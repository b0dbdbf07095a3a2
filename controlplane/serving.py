"""All hot doors of the web process in one dictionary, and the thread that keeps their memory fresh."""

import asyncio
from collections.abc import Callable
from typing import Any

from apps.access import serving as access
from apps.console import serving as console
from apps.core.asgi import Door
from apps.core.bell import Listener
from apps.core.refresh import Refresher
from apps.flags import serving as flags
from apps.telemetry import serving as telemetry
from controlplane import health, otel, scrape, watch
from controlplane.facts import facts
from controlplane.timing import timed

SOON_SECONDS = 3.0
PATIENT_SECONDS = 30.0
STREAMS = flags.STREAMS | console.DOORS.keys()  # they last for hours, and are not timed
DOORS: dict[tuple[str, str], Door] = {
    address: door if address in STREAMS else timed(address[1], door)
    for address, door in {
        **health.DOORS,
        **scrape.DOORS,
        **flags.DOORS,
        **telemetry.DOORS,
        **console.DOORS,
    }.items()
}
PREFIX_DOORS = [(address, timed(f"{address[1]}{{key}}", door)) for address, door in flags.PREFIX_DOORS]

refresher = Refresher({"flags": flags.refresh, "keys": access.refresh, "console": console.refresh})  # a change first
bell = Listener(refresher.ask)
watchman = watch.Watchman()


def door_of(method: str, path: str) -> Door | None:
    if door := DOORS.get((method, path)):
        return door
    for (wanted, beginning), door in PREFIX_DOORS:
        if method == wanted and path.startswith(beginning):
            return door
    return None


async def open_doors() -> None:
    """Loads what the doors need, from disk first and then from the database, and starts the threads."""
    loop = asyncio.get_running_loop()
    access.load_disk_copy()
    flags.start(loop)
    console.start(loop)
    telemetry.start()
    has_copy = await asyncio.to_thread(flags.load_disk_copy)
    refresher.start()
    # A database that is away lets each look wait: whoever has a copy to serve opens the doors meanwhile.
    await asyncio.to_thread(refresher.looked.wait, SOON_SECONDS if has_copy else PATIENT_SECONDS)
    bell.start()
    watchman.start()
    facts.start()
    otel.start("web", scrape.collect_own)


async def close_doors() -> None:
    def stop() -> None:
        bell.stop()
        watchman.stop()
        facts.stop()
        refresher.stop()
        flags.stop()
        telemetry.stop()
        otel.stop()

    await asyncio.to_thread(stop)


def end_streams() -> None:
    flags.end_streams()
    console.end_streams()


def at_stop_signal(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Granian says lifespan.shutdown only after the last answer ended, so streams must end at the signal itself."""
    add = loop.add_signal_handler

    def add_both(number: int, handler: Callable[..., Any], *args: Any) -> None:
        def both() -> None:
            act()
            handler(*args)

        add(number, both)

    loop.add_signal_handler = add_both  # type: ignore[assignment, method-assign]
