"""Fields that many tables share. `environment` and `route` are text: what was measured outlives what it was about."""

from django.db import models


def name_field(length: int = 128) -> "models.CharField[str, str]":
    return models.CharField(max_length=length, blank=True, default="")


def environment_field() -> "models.CharField[str, str]":
    return models.CharField(max_length=64)


def route_field() -> "models.CharField[str, str]":
    return models.CharField(max_length=512)
