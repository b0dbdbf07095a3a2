"""What a page says."""

from django.http import HttpResponse


def text(answer: HttpResponse) -> str:
    return answer.content.decode().replace("\u00a0", " ")
