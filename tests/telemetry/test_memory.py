from datetime import UTC, datetime, timedelta

from apps.telemetry.domain.pricing import TokenHistory
from apps.telemetry.memory import HISTORIES_AT_ONCE, SAVE_HISTORIES, WriterMemory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_many_histories_are_saved_over_some_groups_and_each_not_again_for_some_seconds():
    routes = [("production", f"route-{n:03d}") for n in range(HISTORIES_AT_ONCE * 2 + 1)]
    writer = WriterMemory()
    writer.histories = {route: TokenHistory() for route in routes}
    groups = []
    for _ in range(4):
        groups.append(writer.histories_to_save(routes, NOW))
        writer.histories_are_saved(groups[-1], NOW)
    assert [len(group) for group in groups] == [HISTORIES_AT_ONCE, HISTORIES_AT_ONCE, 1, 0]
    assert {route for group in groups for route in group} == set(routes)
    assert len(writer.histories_to_save([], NOW + SAVE_HISTORIES)) == HISTORIES_AT_ONCE


def test_what_was_not_committed_is_saved_by_the_next_group():
    route = ("production", "invoice-summary")
    writer = WriterMemory()
    writer.histories = {route: TokenHistory()}
    assert writer.histories_to_save([route], NOW) == [route]
    assert writer.histories_to_save([], NOW + timedelta(milliseconds=20)) == [route]
