"""When something of a route last came: said now and then, not by every commit group."""

from datetime import datetime, timedelta
from unittest.mock import Mock

import pytest
from django.db import OperationalError

from apps.telemetry import writing
from apps.telemetry.memory import WriterMemory
from apps.telemetry.models import Freshness
from tests.telemetry.make_telemetry import NOW, ROUTE, call, count, make_route, sent

pytestmark = pytest.mark.django_db


@pytest.fixture
def writer() -> WriterMemory:
    make_route(now=NOW - timedelta(hours=1))
    writer = WriterMemory()
    count(sent(call()), writer=writer)
    return writer


def newest() -> datetime:
    return Freshness.objects.get(route=ROUTE).newest_at


def test_it_is_said_once_a_second(writer):
    count(sent(call()), writer=writer, now=NOW + timedelta(seconds=0.9))
    assert newest() == NOW

    count(sent(call()), writer=writer, now=NOW + timedelta(seconds=1))
    assert newest() == NOW + timedelta(seconds=1)


def test_what_was_not_committed_is_said_by_the_next_group(writer, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(writing, "save_histories", Mock(side_effect=OperationalError))
        count(sent(call()), writer=writer, now=NOW + timedelta(seconds=1))

    count(sent(call()), writer=writer, now=NOW + timedelta(seconds=1.1))
    assert newest() == NOW + timedelta(seconds=1.1)
