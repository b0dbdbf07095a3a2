"""The switches of a flag: kill and fallback, in two presses, with what each does printed before the press."""

from urllib.parse import urlencode

from django.urls import reverse

from apps.access.domain.roles import Role
from apps.console.acts import Act
from apps.console.flag_queries import Served
from apps.console.visits import Visit
from apps.flags.queries import RouteView


def of(visit: Visit, found: Served) -> list[Act]:
    flag = found.flag
    if flag.archived_at is not None:
        return []
    if flag.switch:
        return [restore(visit, found)]
    acts = []
    if isinstance(flag, RouteView) and flag.fallback_variant:
        acts.append(fall_back(visit, flag))
    acts.append(switch_off(visit, found))
    return acts


def named(visit: Visit, found: Served, act: str) -> Act | None:
    return next((one for one in of(visit, found) if one.key == act), None)


def address(visit: Visit, key: str, act: str) -> str:
    query = urlencode({"environment": visit.environment.key})
    return f"{reverse('flag-switch', args=[key, act])}?{query}"


def home(visit: Visit, key: str) -> str:
    return f"{reverse('flag', args=[key])}?{urlencode({'environment': visit.environment.key})}"


def act_of(
    visit: Visit,
    key: str,
    act: str,
    *,
    label: str,
    effect: str,
    title: str,
    question: str,
    yes: str,
    keep: str,
    css: str = "is-danger",
    yes_css: str = "is-armed",
    icon: str = "",
) -> Act:
    may = visit.may(Role.OPERATOR)
    return Act(
        key=act,
        href=address(visit, key, act),
        presses=2,
        can=may,
        why_not="" if may else visit.who_may(Role.OPERATOR),
        back=home(visit, key),
        label=label,
        effect=effect,
        title=title,
        question=question,
        yes=yes,
        keep=keep,
        css=css,
        yes_css=yes_css,
        icon=icon,
    )


def switch_off(visit: Visit, found: Served) -> Act:
    key = found.flag.key
    what = "Services get no model from it" if found.is_route else "Callers get the default in their code"
    return act_of(
        visit,
        key,
        "off",
        label="Switch off",
        effect=f"{what}, within seconds. Works at once, whatever holds or protects it.",
        title=f"Switch {key} off",
        question=f"Switch {key} off for everybody?",
        yes=f"Yes, switch {key} off",
        keep="Keep it on",
    )


def fall_back(visit: Visit, flag: RouteView) -> Act:
    target = flag.fallback_variant
    return act_of(
        visit,
        flag.key,
        "fall-back",
        label=f"Fall back to {target}",
        icon="life-buoy",
        effect=f"Everybody gets {target}, whatever rules and shares say. A running rollout is paused.",
        title=f"Fall back to {target}",
        question=f"Send 100\u00a0% to {target}?",
        yes=f"Yes, send 100\u00a0% to {target}",
        keep="Keep the shares",
    )


def restore(visit: Visit, found: Served) -> Act:
    flag = found.flag
    was = "fallback" if isinstance(flag, RouteView) and flag.on_fallback else "kill switch"
    return act_of(
        visit,
        flag.key,
        "restore",
        label=f"Take the {was} back",
        icon="play",
        css="is-main",
        effect="Rules and shares decide again, within seconds.",
        title=f"Take the {was} of {flag.key} back",
        question=f"Take the {was} back?",
        yes="Yes, let rules and shares decide",
        keep="Leave it",
        yes_css="is-main",
    )
