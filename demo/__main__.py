"""`python -m demo`: seeds, starts the providers, the receiver and the two services, tells the story, keeps traffic on.

`bin/up --demo` starts it once the web is ready. It ends only when it is told to.
"""

import argparse
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import httpx2

from controlplane.parentage import die_with_parent
from demo import trace
from demo.children import Children, free_port
from demo.plane import Plane, Refused
from demo.saying import say
from demo.service import NAMES

SEED = 2511  # the article's team stopped its rollout in the eleventh month of 2025


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m demo", description="Plays the demo against a running control plane.")
    parser.add_argument("--url", default=os.environ.get("CHANGEOVER_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DATA_DIR", "var")))
    parser.add_argument("--trace", type=Path, help="CSV of arrivals: TIMESTAMP,ContextTokens,GeneratedTokens")
    parser.add_argument("--speed", type=float, help="divides the gaps (default 8 with --trace, else 1)")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    if arguments.speed is not None and arguments.speed <= 0:
        parser.error("--speed must be above 0")
    arguments.data = arguments.data.resolve()
    return arguments


def main() -> int:
    die_with_parent()
    arguments = options()
    if arguments.trace:
        try:
            recorded = len(trace.read(arguments.trace))
        except (OSError, trace.TraceIsUnreadable) as error:
            say(f"The trace cannot be played: {error}")
            return 0  # to be started again would not make it readable
        say(f"Playing {recorded:,} recorded requests at speed {arguments.speed or trace.SPEED_OF_A_RECORDED_TRACE:g}.")

    setup(arguments.data)
    from demo.seed import seed, seed_routes

    seeded = seed(url=arguments.url, data=arguments.data, now=datetime.now(UTC))
    plane = Plane(arguments.url, environment=seeded.demo["environment"], **seeded.demo["keys"])
    people = ", ".join(f"{p['username']} / {p['password']}" for p in (seeded.demo["operator"], seeded.demo["approver"]))
    say(f"Log in at {arguments.url} as {people}; all keys and passwords are in {arguments.data / 'demo.json'}.")

    try:
        seed_routes(plane)
    except Refused as error:
        say(f"The demo's routes cannot be made: {error}")
        return 1

    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)  # from here on there are children to stop
    signal.signal(signal.SIGINT, stop)
    children = Children()
    start_children(children, arguments, seeded.receiver_port)
    storyteller = threading.Thread(target=tell, args=(plane, arguments), daemon=True)
    storyteller.start()
    while not stopping.wait(0.2):
        children.look(time.monotonic())
    children.stop()
    return 0


def setup(data: Path) -> None:
    """Django with the settings of this data folder."""
    os.environ["DATA_DIR"] = str(data)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    (data / "demo").mkdir(parents=True, exist_ok=True)


def start_children(children: Children, arguments: argparse.Namespace, receiver_port: int) -> None:
    port = free_port()
    children.add("providers", "demo.providers", "--port", str(port), "--seed", str(arguments.seed))
    children.add("receiver", "demo.receiver", "--port", str(receiver_port), "--data", str(arguments.data))
    more = [*(["--trace", str(arguments.trace)] if arguments.trace else [])]
    more += ["--speed", f"{arguments.speed:g}"] if arguments.speed else []
    for name in NAMES:
        (arguments.data / "demo" / f"{name}.json").unlink(missing_ok=True)  # what an earlier run counted
        children.add(
            name,
            "demo.service",
            *("--name", name, "--url", arguments.url, "--providers", f"http://127.0.0.1:{port}"),
            *("--data", str(arguments.data), "--seed", str(arguments.seed), *more),
        )


def tell(plane: Plane, arguments: argparse.Namespace) -> None:
    """The story may fail, the traffic goes on."""
    from demo import scenario

    try:
        story = scenario.Story(plane, data=arguments.data, seed=arguments.seed, file=arguments.trace)
        if story.was_told():
            say("This data has seen the demo's story already: traffic goes on, the story is not told again.")
            say(f"To start over: stop, remove {arguments.data}, and run bin/up --demo.")
            return
        story.play()
        say("The story is over; the traffic goes on until you stop it.")
    except Refused as error:
        say(f"The story stops here, since the control plane refused: {error}")
    except scenario.OutOfTime as error:
        say(f"The story stops here: {error}.")
    except (httpx2.HTTPError, KeyError, TypeError, ValueError) as error:
        say(f"The story stops here, on an answer that it does not understand: {error!r}")
        raise


if __name__ == "__main__":
    sys.exit(main())
