import uuid

from apps.core.ids import new_id


def test_an_id_is_a_uuid_of_version_7():
    made = uuid.UUID(new_id())

    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_ids_sort_by_the_millisecond_they_were_made_in(monkeypatch):
    import time

    moments = iter(range(1_764_000_000_000_000_000, 1_764_000_000_100_000_000, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))

    made = [new_id() for _ in range(100)]

    assert made == sorted(made)
