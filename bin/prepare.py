"""Brings the database and the static files up to date, in one start of Django; prints the first operator's link.

python bin/prepare.py [--first-operator URL]
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0, interactive=False)
call_command("collectstatic", verbosity=0, interactive=False)
if sys.argv[1:2] == ["--first-operator"]:
    call_command("first_operator_link", url=sys.argv[2])
