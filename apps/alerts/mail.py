"""Whether mail leaves this machine: without a mail server it is kept here, and everybody who looks is told so."""

from django.conf import settings

KEPT = {
    "django.core.mail.backends.filebased.EmailBackend": "written to a file",
    "django.core.mail.backends.console.EmailBackend": "written to the log",
    "django.core.mail.backends.dummy.EmailBackend": "thrown away",
}


def not_sent() -> str:
    """What becomes of mail that nobody gets; empty where it leaves."""
    becomes = KEPT.get(settings.EMAIL_BACKEND)
    return f"{becomes}: EMAIL_URL names no mail server" if becomes else ""
