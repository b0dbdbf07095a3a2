from celery import shared_task
from django.utils import timezone

from apps.flags import change_requests, refused, services


@shared_task
def forget_old(**_: object) -> None:
    services.forget_old(now=timezone.now())
    refused.forget_old(now=timezone.now())


@shared_task
def run_due_changes(**_: object) -> None:
    change_requests.run_due(now=timezone.now())
