"""What the tests of the flag pages share: where a page is, what it says, and the form of one rule."""

from django.urls import reverse
from django.utils import timezone

from apps.flags import services
from tests.console.make_flags import TOM

KEY = "new-parser"
HERE = "production"


def body(answer):
    return answer.content.decode().replace("&nbsp;", " ").replace("\u00a0", " ")


def address(name, *args):
    return reverse(name, args=args)


def rule_form(**more):
    return {
        "name": "Germans", "kind-0": "all", "attribute-0": "country", "operator-0": "is", "values-0": "DE",
        "answer": "on", "do": "keep",
    } | more  # fmt: skip


def change_behind(**fields):
    """Tom changes the flag while somebody else has a draft."""
    services.update_flag(environment=HERE, key=KEY, by=TOM, because="meanwhile", now=timezone.now(), **fields)


def ask(client, user):
    """The user drafts a rule and asks for approval."""
    client.force_login(user)
    client.post(address("flag-rule", KEY, 0), rule_form())
    return client.post(address("flag-review", KEY), {"because": "Germany", "revision": "2", "do": "submit"})
