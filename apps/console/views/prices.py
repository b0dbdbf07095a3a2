"""Prices: what models cost, what has none, and lists of the price library that wait for another person."""

from datetime import UTC, timedelta
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.access import queries as access
from apps.access.domain.roles import Role
from apps.catalog import price_lists
from apps.catalog import queries as catalog
from apps.catalog.models import Price, PriceList
from apps.console.presenters import prices
from apps.console.presenters.bill_form import BillDraft
from apps.console.visits import Visit, visited
from apps.core.refusals import Forbidden, Invalid, NotFound, Refused
from apps.telemetry import bills, repricing
from apps.telemetry import queries as telemetry

MONTH, AHEAD = timedelta(days=30), timedelta(minutes=1)
MOST_BILLS = 60
ROLES = {"approve": Role.APPROVER, "reject": Role.APPROVER, "withdraw": Role.OPERATOR, "import": Role.OPERATOR}


@visited
def page(visit: Visit) -> HttpResponse:
    return overview(visit)


def overview(visit: Visit, *, error: str = "", status: int = 200, bill: BillDraft | None = None) -> HttpResponse:
    unpriced = telemetry.unpriced(visit.environment.key, visit.now - MONTH, visit.now + AHEAD)
    lists = [prices.list_row(row) for row in catalog.price_lists()[:20]]
    return visit.page(
        "console/prices.html",
        current="prices",
        status=status,
        error=error,
        summary=prices.summary(PriceList.objects.in_force(), Price.objects.own().count(), unpriced),
        models=[prices.model_row(view) for view in catalog.models()],
        lists=lists,
        waiting=[row for row in lists if row.word == "Waits for approval"],
        unpriced=[prices.unpriced_row(row) for row in unpriced],
        bills=[prices.bill_row(one) for one in differences(visit)],
        may_import=may(visit, Role.OPERATOR),
        draft=bill or BillDraft(),
        may_take_bill=visit.may(Role.OPERATOR),
        who_may=visit.who_may(Role.OPERATOR),
    )


@visited
def take_bill(visit: Visit) -> HttpResponse:
    """A provider's bill as a file. It stands beside our sums and changes none of them."""
    here = f"{reverse('prices')}#bills"
    if visit.request.method != "POST":
        return HttpResponseRedirect(here)
    visit.must(Role.OPERATOR)
    draft = BillDraft.read(visit.request.POST, visit.request.FILES.get("file"))
    if draft.faults:
        return overview(visit, status=422, bill=draft)
    try:
        bills.take_bill(
            environment=visit.environment.key,
            text=draft.text,
            provider=draft.provider,
            by=visit.actor,
            because=draft.because or "Imported in the console.",
            now=visit.now,
        )
    except Invalid as refused:
        draft.faults["file"] = refused.errors.get("csv", refused.detail)
        return overview(visit, status=422, bill=draft)
    return HttpResponseRedirect(here)


def differences(visit: Visit) -> list[bills.Difference]:
    """Of the last month, the newest day first."""
    until = visit.now.astimezone(UTC).date() + timedelta(days=1)
    return bills.compare(visit.environment.key, until - MONTH, until, visit.now)[::-1][:MOST_BILLS]


@visited
def one(visit: Visit, *, id: str) -> HttpResponse:
    return shown(visit, catalog.price_list(id))


def shown(visit: Visit, row: PriceList, *, error: str = "", status: int = 200) -> HttpResponse:
    waits = row.state == PriceList.State.PROPOSED
    found = catalog.difference(row, visit.now)
    changes = repricing.effect(catalog.listed(row), visit.now) if waits else []
    is_own = str(visit.actor) == row.proposed_by
    return visit.page(
        "console/price_list.html",
        current="prices",
        status=status,
        error=error,
        list=row,
        row=prices.list_row(row),
        waits=waits,
        counts=prices.counts(found),
        effect=prices.effect(changes),
        rows=prices.difference_rows(found, changes),
        more=max(len(found) - prices.MOST, 0),
        acts={
            "approve": waits and not is_own and may(visit, Role.APPROVER),
            "reject": waits and may(visit, Role.APPROVER),
            "withdraw": waits and may(visit, Role.OPERATOR),
        },
        why_not=why_not(visit, is_own) if waits else "",
    )


def may(visit: Visit, role: Role) -> bool:
    """Prices belong to all environments: the role is needed in each of them."""
    have = access.role_everywhere(visit.request.user)
    return have is not None and have.includes(role)


def why_not(visit: Visit, is_own: bool) -> str:
    if is_own:
        return "You proposed this list: another person approves it."
    return "" if may(visit, Role.APPROVER) else visit.who_may(Role.APPROVER)


@visited
def press(visit: Visit, *, act: str, id: str = "") -> HttpResponse:
    """Approve, reject, withdraw; and `import`, which proposes what the installed library says."""
    here = reverse("price-list", args=[id]) if id else reverse("prices")
    if visit.request.method != "POST":
        return HttpResponseRedirect(here)
    if act not in ROLES:
        raise NotFound(what="act", key=act)
    if not may(visit, ROLES[act]):
        raise Forbidden(who=str(visit.actor), role=ROLES[act].value, environment="all environments")
    because = visit.request.POST.get("because", "").replace("\0", "").strip()[:500]
    try:
        row = do(visit, act, id, because)
    except Refused as refused:
        if isinstance(refused, NotFound):
            raise
        if id:
            return shown(visit, catalog.price_list(id), error=refused.detail, status=refused.status)
        return overview(visit, error=refused.detail, status=refused.status)
    return HttpResponseRedirect(reverse("price-list", args=[row.id]))


def do(visit: Visit, act: str, id: str, because: str) -> PriceList:
    told: dict[str, Any] = {"by": visit.actor, "because": because, "now": visit.now}
    if act == "import":
        return price_lists.propose(**told | {"because": because or "Imported in the console."})
    if act == "approve":
        return price_lists.approve(id=id, **told)
    if act == "reject" and not because:
        raise Invalid("Say why: the person who proposed it will read it.", because="Say why.")
    return price_lists.reject(id=id, **told) if act == "reject" else price_lists.withdraw(id=id, **told)
