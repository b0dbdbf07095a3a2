from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse
from django.utils import timezone

from apps.access import first_operator


class Command(BaseCommand):
    help = "While nobody can log in: prints a link that sets the first operator's password, once. Else prints nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default=settings.PUBLIC_URL, help="what the link begins with (default PUBLIC_URL)")

    def handle(self, *_: Any, url: str, **__: Any) -> None:
        if invited := first_operator.invite_first_operator(now=timezone.now()):
            self.stdout.write(url.rstrip("/") + reverse("set_password", args=invited))
