"""The form that takes a provider's bill: the file, and what was typed beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from django.core.files.uploadedfile import UploadedFile

MOST_BYTES = 10_000_000
LONGEST = {"provider": 128, "because": 500}


@dataclass(slots=True)
class BillDraft:
    text: str = ""
    provider: str = ""
    because: str = ""
    faults: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, posted: Mapping[str, str], file: UploadedFile[bytes] | None) -> Self:
        draft = cls(provider=posted.get("provider", "").strip(), because=posted.get("because", "").strip())
        for name, most in LONGEST.items():
            if len(getattr(draft, name)) > most:
                draft.faults[name] = f"At most {most} characters."
        if file is None:
            draft.faults["file"] = "Choose the file of the bill."
        elif (file.size or 0) > MOST_BYTES:
            draft.faults["file"] = "A bill has 10 MB at most: send it in parts, the same day again replaces itself."
        else:
            draft.take(file.read())
        return draft

    def take(self, content: bytes) -> None:
        try:
            self.text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.faults["file"] = "This is no text in UTF-8. Export the bill as CSV."
        else:
            if "\0" in self.text:
                self.faults["file"] = "This is no text. Export the bill as CSV."
