"""What is sealed can be read by who has the key, and by nobody who has the database."""

import pytest

from apps.core import sealing

VALUE = {"url": "https://hooks.example/T/B/secret", "secret": "whsec_é"}


def test_what_was_sealed_comes_back_and_looks_different_each_time():
    first, second = sealing.seal(VALUE), sealing.seal(VALUE)

    assert sealing.unseal(first) == sealing.unseal(second) == VALUE
    assert first != second
    assert "secret" not in first


def test_an_older_key_still_opens_and_only_the_newest_seals(settings):
    settings.SECRET_KEY = "older"
    old = sealing.seal(VALUE)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "newer", ["older"]
    new = sealing.seal(VALUE)

    assert sealing.unseal(old) == VALUE
    assert (sealing.is_of_newest_key(old), sealing.is_of_newest_key(new)) == (False, True)
    settings.SECRET_KEY_FALLBACKS = []
    assert sealing.unseal(new) == VALUE
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(old)


@pytest.mark.parametrize("token", ["", "{}", "gAAAAA", '{"url": "https://plain"}'])
def test_what_is_no_seal_is_unreadable_and_not_taken_for_plain_text(token):
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(token)
    assert sealing.opened(token) == {}
