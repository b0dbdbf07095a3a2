"""Brings the database and the static files up to date, in one start of Django; prints the first operator's link.

python bin/prepare.py [--first-operator URL]
"""

import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def stamp_of_static_files() -> str:
    """Says of every file when it last changed: hashing and compressing them again takes two seconds of each start."""
    facts = [repr(settings.STORAGES["staticfiles"]), str(settings.STATIC_ROOT)]
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            facts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()


def collect_static_files() -> None:
    kept = Path(settings.DATA) / "static.stamp"
    stamp = stamp_of_static_files()
    if kept.exists() and kept.read_text() == stamp and Path(settings.STATIC_ROOT).is_dir():
        return
    kept.unlink(missing_ok=True)
    call_command("collectstatic", verbosity=0, interactive=False)
    kept.write_text(stamp)


django.setup()
call_command("migrate", verbosity=0, interactive=False)
collect_static_files()
if sys.argv[1:2] == ["--first-operator"]:
    call_command("first_operator_link", url=sys.argv[2])
