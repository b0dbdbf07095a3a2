"""The demo's processes come back when they die, and go when they are told to."""

from demo.children import Children


def test_a_child_that_died_is_started_again_after_a_pause():
    children = Children()
    children.add("clock", "http.server", "--bind", "127.0.0.1", "0")
    child = children.all[0]
    first = child.process.pid
    child.process.kill()
    child.process.wait()

    children.look(now=100.0)
    assert child.process is None
    children.look(now=100.5)
    assert child.process is None
    children.look(now=101.5)

    assert child.process.pid != first
    children.stop()


def test_stopping_ends_them_all():
    children = Children()
    children.add("one", "http.server", "--bind", "127.0.0.1", "0")
    children.add("two", "http.server", "--bind", "127.0.0.1", "0")

    children.stop()

    assert all(child.process.poll() is not None for child in children.all)
