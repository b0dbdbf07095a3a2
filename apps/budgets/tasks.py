from celery import shared_task
from django.utils import timezone

from apps.budgets import services


@shared_task
def forget_old(**_: object) -> None:
    services.forget_looks(now=timezone.now())
