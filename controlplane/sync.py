"""The sync process: flagd's gRPC sync protocol in plain text (TLS belongs to the proxy in front).

python -m controlplane.sync --port 8015
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "sdk"))  # the evaluator that services install
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from controlplane.wsgi import application as _django  # noqa: F401  # sets Django up, so it comes before the apps

# isort: split
from apps.access import serving as access
from apps.core.bell import Listener
from apps.core.refresh import Refresher
from apps.flags.serving import sync
from apps.flags.serving.readers import readers
from apps.flags.serving.refusing import refusals
from apps.flags.serving.shelf import shelf
from controlplane.parentage import die_with_parent

SOON_SECONDS = 3.0
PATIENT_SECONDS = 30.0


async def serve(address: str) -> None:
    loop = asyncio.get_running_loop()
    started, stop = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    access.load_disk_copy()
    told = sync.Sync()
    told.tell(loop)
    refresher = Refresher(
        {
            "keys": access.refresh,
            "flags": shelf.refresh,
            "refused": refusals.flush_if_due,
            "readers": readers.flush_if_due,
        }
    )
    bell = Listener(refresher.ask)
    has_copy = await asyncio.to_thread(shelf.load_disk)
    refresher.start()
    await asyncio.to_thread(refresher.looked.wait, SOON_SECONDS if has_copy else PATIENT_SECONDS)
    bell.start()
    said = asyncio.ensure_future(say(started, address))
    try:
        await sync.serve(told, address, started, stop)
    finally:
        said.cancel()
        await asyncio.to_thread(bell.stop)
        await asyncio.to_thread(refresher.stop)


async def say(started: asyncio.Event, address: str) -> None:
    await started.wait()
    sys.stdout.write(f"flagd sync on {address}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser("python -m controlplane.sync", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8015)
    args = parser.parse_args()
    die_with_parent()
    try:
        asyncio.run(serve(f"{args.host}:{args.port}"))
    except (OSError, RuntimeError) as fault:  # grpc says a busy port by RuntimeError
        sys.stderr.write(f"{fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
