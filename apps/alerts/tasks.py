from celery import shared_task
from django.utils import timezone

from apps.alerts import services


@shared_task
def dispatch(**_: object) -> None:
    services.dispatch(timezone.now())


@shared_task
def forget_old(**_: object) -> None:
    services.forget_old(timezone.now())
