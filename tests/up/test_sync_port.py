import pytest

from tests.processes import free_port
from tests.up.running import Up

pytestmark = [pytest.mark.trees, pytest.mark.timeout(300)]


def test_it_opens_the_sync_door_when_asked_and_closes_it_again(tmp_path):
    port = free_port()
    with Up(tmp_path / "data", "--sync-port", str(port)) as up:
        up.wait_ready()
        up.until(lambda: f"flagd sync on 127.0.0.1:{port}" in up.output())
        assert "sync" in up.pids()

        up.process.terminate()
        assert up.process.wait(90) == 0
        assert up.left() == []


@pytest.mark.parametrize("port", ["0", "70000"])
def test_a_sync_port_that_is_none_is_said(tmp_path, port):
    with Up(tmp_path / "data", "--sync-port", port) as up:
        assert up.process.wait(90) == 2
        assert "--sync-port must lie between 1 and 65535" in up.output()
