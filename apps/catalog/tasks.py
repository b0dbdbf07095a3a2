from celery import shared_task
from django.utils import timezone

from apps.catalog import price_lists


@shared_task
def keep_up(**_: object) -> None:
    price_lists.keep_up(now=timezone.now())
