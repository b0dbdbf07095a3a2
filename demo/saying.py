"""What the demo tells the person in front of the terminal: one line, at once."""

import sys
import time

_began = time.monotonic()


def say(text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    sys.stdout.write(f"{minutes:02d}:{seconds:02d}  {text}\n")
    sys.stdout.flush()
