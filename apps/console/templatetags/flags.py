"""Filters of the flag pages."""

from django import template

register = template.Library()


@register.filter
def dotless(kind: str) -> str:
    """The journal's word for what happened, as words: `flag created`."""
    return kind.replace(".", " ", 1).replace("_", " ")
