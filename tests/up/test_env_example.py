import re

from tests.processes import ROOT

# What a program tells another, not what a person sets.
INTERNAL = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTHONUNBUFFERED", "CHANGEOVER_PARENT", "CHANGEOVER_CALLED_FROM"}
READS = re.compile(r"""(?:\benv\.[a-z_]+\(|\benviron(?:\.get|\.setdefault)?[(\[])\s*["']([A-Z_]+)["']""")


def test_it_lists_every_setting() -> None:
    files = [*(ROOT / "controlplane").rglob("*.py"), *(ROOT / "apps").rglob("*.py"), ROOT / "bin" / "supervise.py"]
    read = {name for file in files for name in READS.findall(file.read_text())}

    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert read - INTERNAL == listed
