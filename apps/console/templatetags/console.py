"""Tags and filters that format. They never query."""

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from apps.console import chart_values, charts, figures, glyphs, sentences
from apps.console.icons import ICONS

register = template.Library()


@register.simple_tag
def icon(name: str, size: int = 16, label: str = "") -> SafeString:
    named = format_html('role="img" aria-label="{}"', label) if label else 'aria-hidden="true"'
    return mark_safe(
        f'<svg class="icon" width="{size}" height="{size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
        f'stroke-width="{24 / size * 1.15:.2f}" stroke-linecap="round" stroke-linejoin="round" {named}>'
        f"{ICONS[name]}</svg>"
    )


@register.simple_tag
def glyph(name: str, tone: str = "", share: float | None = None, size: int = 14) -> SafeString:
    drawn = glyphs.drawn(name, share=share, size=size)
    return mark_safe(drawn.replace('class="glyph"', f'class="glyph {tone}"', 1) if tone else drawn)


@register.simple_tag
def mark(firing: bool = False, size: int = 18) -> SafeString:
    return mark_safe(glyphs.mark(firing=firing, size=size))


@register.simple_tag
def state(word: str, share: float | None = None, chip: bool = False, told: str = "") -> SafeString:
    """The shape and the word of a state; `told` is what is written where it says more than the word."""
    shape, tone = glyphs.STATES[word]
    css = f"state tone-{tone or 'none'}" + (" is-chip" if chip else "")
    return format_html(
        '<span class="{}">{}<span>{}</span></span>', css, mark_safe(glyphs.drawn(shape, share=share)), told or word
    )


@register.simple_tag
def verdict(state: str, told: str = "", chip: bool | None = None) -> SafeString:
    """Within is a tick and a word; what someone must look at has a ground."""
    shape, tone = glyphs.VERDICTS[state]
    has_ground = tone != "ok" if chip is None else chip
    css = f"verdict tone-{tone}" + (" is-chip" if has_ground else "")
    word = told or state.capitalize()
    return format_html('<span class="{}">{}<span>{}</span></span>', css, mark_safe(glyphs.drawn(shape)), word)


@register.simple_tag
def chart(one: charts.Chart) -> SafeString:
    """Two drawings of one chart: the wide one, and the one whose text can be read on a phone."""
    wide, phone = charts.svg(one), charts.svg(one, charts.PHONE)
    return mark_safe(f'<div class="only-wide">{wide}</div><div class="only-phone">{phone}</div>')


@register.simple_tag
def half_chart(one: charts.Chart) -> SafeString:
    wide, phone = charts.svg(one, 410), charts.svg(one, charts.PHONE)
    return mark_safe(f'<div class="only-wide">{wide}</div><div class="only-phone">{phone}</div>')


@register.simple_tag
def fault_of(draft: Any, field: str) -> SafeString:
    """What a field with a fault says to those who do not see it; `_fault.html` writes the words. The focus goes to
    the first one of the page."""
    if field not in draft.faults:
        return SafeString()
    return format_html(' aria-invalid="true" aria-describedby="{}-error" autofocus', field)


@register.inclusion_tag("console/_text_field.html")
def text_field(
    draft: Any, name: str, label: str, longest: int, *, id: str = "", placeholder: str = "", grows: bool = False
) -> dict[str, Any]:
    """One line of a draft: its label, what was typed, and what is wrong with that."""
    return {
        "draft": draft,
        "name": name,
        "value": getattr(draft, name),
        "words": draft.faults.get(name, ""),
        "label": label,
        "longest": longest,
        "id": id or name,
        "placeholder": placeholder,
        "grows": grows,
    }


@register.filter
def chart_data(one: charts.Chart) -> dict[str, Any]:
    return chart_values.for_uplot(one)


@register.filter
def chart_rows(one: charts.Chart) -> list[list[str]]:
    return chart_values.rows(one)


@register.filter
def marked(text: str, at: datetime | None = None) -> SafeString:
    return mark_safe(sentences.marked(text, at))


@register.filter
def unbroken(text: str) -> SafeString:
    """Model names keep their hyphens on the line."""
    return mark_safe(sentences.whole_names(escape(text)))


@register.filter
def clock(at: datetime) -> SafeString:
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), figures.clock(at))


@register.filter
def moment(at: datetime, now: datetime) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), figures.long_moment(at), figures.moment(at, now)
    )


@register.filter
def ago(at: datetime, now: datetime) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), figures.long_moment(at), figures.ago(at, now)
    )


@register.filter
def middle_cut(name: str, most: int = 28) -> str:
    return figures.middle_cut(name, most)


@register.filter
def short_name(name: str) -> str:
    return figures.short_name(name)
