import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access import serving as access
from apps.core.bell import Listener
from apps.core.refresh import Refresher
from apps.flags.serving import sync
from apps.flags.serving.shelf import shelf


class Command(BaseCommand):
    help = "Serves flagd's gRPC sync protocol (flagd.sync.v1) in plain text; TLS belongs to the proxy in front."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8015)

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            asyncio.run(self.serve(f"{options['host']}:{options['port']}"))
        except (OSError, RuntimeError) as fault:  # grpc says a busy port by RuntimeError
            raise CommandError(str(fault)) from fault

    async def serve(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        started, stop = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        access.load_disk_copy()
        told = sync.Sync()
        told.tell(loop)
        refresher = Refresher({"keys": access.refresh, "flags": shelf.refresh})
        bell = Listener(refresher.ask)
        await asyncio.to_thread(refresher.look_once)
        refresher.start()
        bell.start()
        serving = asyncio.ensure_future(sync.serve(told, address, started, stop))
        said = asyncio.ensure_future(self.say(started, address))
        try:
            await serving
        finally:
            said.cancel()
            await asyncio.to_thread(bell.stop)
            await asyncio.to_thread(refresher.stop)

    async def say(self, started: asyncio.Event, address: str) -> None:
        await started.wait()
        self.stdout.write(f"flagd sync on {address}")
        self.stdout.flush()
