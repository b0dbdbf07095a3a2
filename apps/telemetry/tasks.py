from celery import shared_task
from django.utils import timezone

from apps.telemetry import bills, keeping, rolling, services


@shared_task
def forget_old(**_: object) -> None:
    services.forget_old(now=timezone.now())


@shared_task
def forget_raw_calls(**_: object) -> None:
    keeping.forget_old(now=timezone.now())


@shared_task
def roll_up(**_: object) -> None:
    rolling.roll_up()


@shared_task
def watch_bills(**_: object) -> None:
    bills.watch(now=timezone.now())
