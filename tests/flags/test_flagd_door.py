import gzip
import json

import pytest
from openfeature.evaluation_context import EvaluationContext  # noqa: F401  # the package that reads what we serve

from apps.flags import queries, services, serving
from apps.flags.serving.shelf import Shelf
from tests.flags.doors import ask, look, make_key
from tests.flags.make_flags import ALICE, NOW, make_environment, make_flag, make_route

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shelf_of_this_test")]
PATH = "/flagd/flags.json"
SAID = {"environment": "production", "by": ALICE, "because": "to see", "now": NOW}


def test_it_serves_the_published_bytes_with_a_strong_tag():
    make_route()
    key = make_key()
    look()

    answer = ask("GET", PATH, headers=key)

    assert answer.status == 200
    assert answer.body == queries.snapshot("production").body
    assert answer.header("etag").startswith('"production-1-')
    assert answer.header("content-type") == "application/json"
    assert "Authorization" in answer.header("vary")
    assert set(json.loads(answer.body)["flags"]["invoice-extraction"]) <= {
        "state", "variants", "defaultVariant", "targeting", "metadata",
    }  # fmt: skip


def test_a_matching_tag_is_304_and_a_new_version_is_not():
    make_flag()
    key = make_key()
    look()
    tag = ask("GET", PATH, headers=key).header("etag")

    same = ask("GET", PATH, headers=key | {"If-None-Match": tag})
    services.update_flag(**SAID, key="new-parser", default_variant="on")
    look()
    newer = ask("GET", PATH, headers=key | {"If-None-Match": tag})

    assert (same.status, same.body, same.header("etag")) == (304, b"", tag)
    assert (newer.status, newer.header("etag") != tag) == (200, True)


def test_gzip_is_another_form_with_its_own_tag_and_the_same_bytes_everywhere():
    make_route()
    key = make_key()
    look()

    plain = ask("GET", PATH, headers=key)
    packed = ask("GET", PATH, headers=key | {"Accept-Encoding": "br, gzip;q=0.8"})
    refused = ask("GET", PATH, headers=key | {"Accept-Encoding": "gzip;q=0"})

    assert packed.header("content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body == refused.body
    assert packed.header("etag") == plain.header("etag")[:-1] + '-gz"'
    assert packed.body == gzip.compress(plain.body, 6, mtime=0)
    again = ask("GET", PATH, headers=key | {"Accept-Encoding": "gzip", "If-None-Match": packed.header("etag")})
    assert again.status == 304


def test_head_tells_the_same_without_the_body():
    make_flag()
    key = make_key()
    look()

    head, whole = ask("HEAD", PATH, headers=key), ask("GET", PATH, headers=key)

    assert (head.status, head.body, head.header("content-length")) == (200, b"", str(len(whole.body)))
    assert head.header("etag") == whole.header("etag")


def test_a_new_environment_is_empty_not_missing():
    make_environment()
    key = make_key()

    look()

    assert ask("GET", PATH, headers=key).json["flags"] == {}


def test_who_may_not_gets_a_problem():
    make_flag()
    wrong = make_key(scopes=["manage:write"])
    look()

    nobody, stranger = ask("GET", PATH), ask("GET", PATH, headers=wrong)

    assert (nobody.status, nobody.json["code"]) == (401, "unauthorized")
    assert (stranger.status, stranger.json["code"]) == (403, "forbidden")


def test_another_process_that_starts_without_its_database_serves_the_disk_copy_and_says_how_old_it_is(
    shelf_of_this_test: Shelf, monkeypatch
):
    make_route()
    key = make_key()
    look()
    before = ask("GET", PATH, headers=key)
    shelf_of_this_test.held.clear()  # a new process
    shelf_of_this_test.disk_is_read = False
    monkeypatch.setattr("apps.access.models.Environment.objects.values_list", database_is_away)

    with pytest.raises(OSError):
        look()
    shelf_of_this_test.confirmed["production"] -= 60
    after = ask("GET", PATH, headers=key)

    assert (after.status, after.body, after.header("etag")) == (200, before.body, before.header("etag"))
    assert int(after.header("x-snapshot-age")) >= 60
    assert before.header("x-snapshot-age") is None


def test_once_the_database_is_back_its_word_counts(shelf_of_this_test: Shelf):
    make_flag()
    key = make_key()
    look()
    shelf_of_this_test.held.clear()
    shelf_of_this_test.disk_is_read = False
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    look()

    assert ask("GET", PATH, headers=key).json["metadata"]["revision"] == 2
    assert shelf_of_this_test.from_disk == set()


def test_the_disk_copy_is_for_its_owner_only_and_a_drill_leaves_none(shelf_of_this_test: Shelf):
    from apps.flags.serving.shelf import disk_file

    make_environment("drill-1", is_hidden=True)
    make_flag()
    make_flag("new-parser", environment="drill-1")

    look()

    assert disk_file("production").stat().st_mode & 0o777 == 0o600
    assert not disk_file("drill-1").exists()


def test_a_half_written_disk_copy_is_left_alone(shelf_of_this_test: Shelf):
    from apps.flags.serving.shelf import disk_file, folder

    folder().mkdir(parents=True, exist_ok=True)
    disk_file("production").write_bytes(b"7\n{")
    make_flag()

    look()

    assert shelf_of_this_test.held["production"].version == 1


def test_what_did_not_change_is_not_compiled_again(shelf_of_this_test: Shelf):
    make_flag("one", targeting={"if": [{"var": "x"}, "on"]})
    make_flag("two", targeting={"if": [{"var": "x"}, "on"]})
    look()
    compiled = {key: flag.compiled for key, flag in shelf_of_this_test.held["production"].flags.flags.items()}
    services.update_flag(**SAID, key="two", default_variant="on")

    look()

    after = shelf_of_this_test.held["production"].flags.flags
    assert after["one"].compiled is compiled["one"]
    assert after["two"].compiled is not compiled["two"]


def database_is_away(*_: object, **__: object) -> None:
    raise OSError("no database")


def test_it_is_loaded_once_a_whole_look_has_succeeded(shelf_of_this_test: Shelf):
    make_flag()

    before = serving.is_loaded()
    look()

    assert (before, serving.is_loaded()) == (False, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tag", ['"production-2-0123456789abcdef"', '"x", W/"production-2-0123456789abcdef-gz"'])
def test_a_reader_that_has_a_newer_version_from_another_process_is_never_given_an_older_one(tag):
    make_flag()
    key = make_key()
    look()
    services.update_flag(**SAID, key="new-parser", default_variant="on")

    answer = ask("GET", PATH, headers=key | {"If-None-Match": tag})

    assert (answer.status, answer.json["metadata"]["revision"]) == (200, 2)
