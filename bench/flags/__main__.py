"""Every figure of the flag service in one run and one table: doors, local evaluation, change stream, 10,000 flags.

    python -m bench.flags [--quick] [--only doors,local,streams,many]

What each row is, and how the peers are run: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import _results as results
from bench._results import Row

PARTS = ("doors", "local", "streams", "many")
ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "bench" / "peers"
VENV = ROOT / "var" / "bench-venv"

# case: (what, most times nginx's processor time, least of nginx's rate)
DOORS = {
    "304": ("conditional GET of the snapshot (304)", 3.0, 0.6),
    "poll": ("GET of the snapshot, 50 flags, compressed as clients ask for it", 3.2, 0.6),
    "poll-plain": ("GET of the snapshot, 50 flags, not compressed", 3.2, None),
    "one": ("OFREP, one flag", 5.5, None),
    "bulk": ("OFREP, 50 flags", 18.0, None),
    "bulk-again": ("OFREP, 50 flags, the same request again", None, None),
    "bulk-304": ("OFREP, 50 flags, matching ETag (304)", 3.6, None),
}


def main() -> int:
    reading = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reading.add_argument("--quick", action="store_true", help="shorter, and so less sure")
    reading.add_argument("--only", default=",".join(PARTS), help="parts, by comma; nothing is written then")
    reading.add_argument("--results", type=Path, default=results.FOLDER)
    reading.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    asked = reading.parse_args()
    if asked.inside:
        print(json.dumps(measure(asked.inside, asked.quick)))  # the parent reads it
        return 0
    rows: list[Row] = []
    notes: list[str] = []
    parts = asked.only.split(",")
    for part in PARTS:
        if part in parts:
            told, said = TOLD[part](asked.quick)
            rows += told
            notes += said
    with tempfile.TemporaryDirectory() as nowhere:
        folder = asked.results if set(parts) == set(PARTS) else Path(nowhere)
        ok = results.tell("flags", rows, title="Flags", folder=folder, note="\n".join(notes))
    return 0 if ok else 1


def measure(part: str, quick: bool) -> Any:
    """In a process of its own, on a database of its own: the environment says which."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    from bench.flags import doors, many, servers, streams

    with servers.broker(Path(os.environ["DATA_DIR"])):
        match part:
            case "doors":
                return doors.measure(1 if quick else 2, 1 if quick else 3)
            case "streams":
                return streams.measure(5 if quick else 20)
            case _:
                return many.measure(2_000 if quick else 10_000)


def inside(part: str, quick: bool) -> Any:
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as scratch:
        settings = {
            "DATA_DIR": scratch, "DATABASE_URL": f"sqlite:///{scratch}/bench.sqlite3", "SECRET_KEY": "bench" * 10,
            "DEBUG": "0", "STATIC_ROOT": f"{scratch}/static", "REDIS_URL": f"redis+socket://{scratch}/valkey.sock",
        }  # fmt: skip
        command = [sys.executable, "-m", "bench.flags", "--inside", part, *(["--quick"] if quick else [])]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"bench.flags: {part} could not be measured")
        return json.loads(done.stdout.splitlines()[-1])


def told_of_doors(quick: bool) -> tuple[list[Row], list[str]]:
    from bench.flags.servers import missing

    if absent := missing():
        return [], [f"The doors are left out: {' and '.join(absent)} missing (apt-get install nginx-light wrk)."]
    found = inside("doors", quick)
    cpu, rate = found["nginx"]
    sizes = f"{found['bytes']:,} bytes, or of {found['packed_bytes']:,} where ours is compressed"
    rows = [Row(f"nginx, a static file of {sizes}", cpu, "µs", beside={"requests/s": round(rate)})]
    for name, (what, most, least) in DOORS.items():
        times, part, us, per_second = found["rows"][name]
        beside = {"µs": round(us, 1), "requests/s": round(per_second), "rate": round(part, 3)}
        must = f"<= {most:g} x nginx" if most else ""
        rows.append(Row(f"{what}: processor time", times, "x nginx", must, times <= most if most else None, beside))
        if least:
            rows.append(Row(f"{what}: rate", part, "x nginx", f">= {least:g} x nginx", part >= least))
    return rows, []


def told_of_local(quick: bool) -> tuple[list[Row], list[str]]:
    """Ours and the peers in the peers' environment, each in a process of its own, in turn."""
    try:
        prepare_peers()
    except (OSError, subprocess.CalledProcessError) as trouble:
        return [], [f"Local evaluation is left out: the peers cannot be installed ({trouble})."]
    command = [str(VENV / "bin" / "python"), str(PEERS / "local.py"), "--rounds", "1" if quick else "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    times: dict[str, float] = found["µs"]
    ours, pure = times.pop("changeover"), times.pop("changeover, no mmh3")
    beside = {name: round(us, 2) for name, us in sorted(times.items(), key=lambda item: item[1])}
    like = {name: us for name, us in times.items() if name != "datalogic-py, parsed before"}
    fastest = min(like, key=lambda name: like[name])
    what = "local evaluation, split and three rules"
    rows = [
        Row(what, ours, "µs", f"< {fastest}, the fastest peer", ours < like[fastest], beside),
        Row(f"{what}, without mmh3", pure, "µs"),
    ]
    if core := times.get("flagd-core"):
        must = "<= 1/30 of flagd-core"
        rows.append(Row(f"{what}: flagd-core's time is", core / ours, "times ours", must, core / ours >= 30))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    left_out = [f"Left out of local evaluation: {name} ({why})" for name, why in found["left_out"].items()]
    return rows, [f"Peers: {versions}.", *left_out]


def prepare_peers() -> None:
    """An environment of their own; they would fight with ours over versions."""
    python, wanted = VENV / "bin" / "python", PEERS / "requirements.txt"
    stamp = VENV / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(wanted)], check=True)
    stamp.write_bytes(wanted.read_bytes())


def told_of_streams(quick: bool) -> tuple[list[Row], list[str]]:
    found = inside("streams", quick)
    beside = {name: round(found[name], 1) for name in ("first", "p50", "p90", "most")}
    what = f"publish committed until {found['streams']} streams have it, {found['processes']} web processes: p99"
    beside |= {"publishes": found["publishes"]}
    return [Row(what, found["p99"], "ms", "< 150 ms", found["p99"] < 150, beside)], []


def told_of_many(quick: bool) -> tuple[list[Row], list[str]]:
    found = inside("many", quick)
    flags, size = found["flags"], found["bytes"] / 2**20
    compiled, memory = found["compile_ms"], found["memory_mb"]
    of_all = {"megabytes of document": round(size, 1), "all anew": round(found["compile_all_ms"])}
    return [
        Row(f"{flags:,} flags: compiled after one change", compiled, "ms", "< 200 ms", compiled < 200, of_all),
        Row(f"{flags:,} flags: one change is published", found["publish_ms"], "ms"),
        Row(
            f"{flags:,} flags: memory of a web process", memory, "MB", "< 200 MB", memory < 200,
            {"after 20 changes": round(found["memory_after_mb"]), "without flags": round(found["memory_empty_mb"])},
        ),
    ], []  # fmt: skip


TOLD = {"doors": told_of_doors, "local": told_of_local, "streams": told_of_streams, "many": told_of_many}

if __name__ == "__main__":
    sys.exit(main())
