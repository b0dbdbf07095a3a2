from celery import shared_task
from django.utils import timezone

from apps.telemetry import services


@shared_task
def forget_old(**_: object) -> None:
    services.forget_old(now=timezone.now())
