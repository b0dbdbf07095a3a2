"""Fixtures of the console's tests: who approves, an environment that asks for four eyes."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from apps.access.domain.roles import Role
from apps.access.models import Grant
from tests.console.make_flags import make_story


@pytest.fixture
def clock(monkeypatch, now):
    """For everything that reads it."""
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)


@pytest.fixture
def story(environment):
    """Flags, a route and an audience; a test that tells another story has its own."""
    make_story(timezone.now())


@pytest.fixture
def protected(story, environment):
    environment.is_protected = True
    environment.save()
    return environment


@pytest.fixture
def dora(db, password_hash):
    """She approves."""
    user = User.objects.create(username="dora", password=password_hash)
    Grant.objects.create(user=user, environment=None, role=Role.APPROVER)
    return user
