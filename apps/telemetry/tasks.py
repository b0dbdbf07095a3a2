from celery import shared_task
from django.utils import timezone

from apps.telemetry import bills, gathering, keeping, rolling, services


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
def lay_out_abandoned(**_: object) -> None:
    while gathering.lay_out_abandoned(now=timezone.now()):
        pass


@shared_task
def watch_bills(**_: object) -> None:
    bills.watch(now=timezone.now())
