"""YAML as people mean it: `on`, `off`, `yes` and `no` are texts, so are dates, and a key that comes twice is refused.

PyYAML reads YAML 1.1, in which a variant called `on` is a boolean. What is written here reads the same in both.
"""

import re
from typing import Any

import yaml

from apps.flags.domain.unfit import Unfit

PLAIN = {
    "tag:yaml.org,2002:null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "tag:yaml.org,2002:int": (re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+.0123456789"),
    ),
}
WIDTH = 110
ODD_BREAKS = set("\r\x85\u2028\u2029")


class Reader(yaml.SafeLoader):
    """The core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str | int | float | bool) and key is not None:
                raise Unfit("file", f"Line {name.start_mark.line + 1}: a key is a text.")
            if key in seen:
                raise Unfit("file", f"Line {name.start_mark.line + 1}: {key} is here twice.")
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return made

    def construct_whole(self, node: Any) -> int:
        return int(self.construct_scalar(node))


class Writer(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(writer: Writer, value: str) -> Any:
    """Of several lines: as they stand. Breaks that YAML would turn into others are escaped."""
    style = '"' if ODD_BREAKS & set(value) else "|" if "\n" in value else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Writer.add_representer(str, text)
for tag, (pattern, first) in PLAIN.items():
    whole = re.compile(f"^(?:{pattern.pattern})$")
    Reader.add_implicit_resolver(tag, whole, first)
    if tag.endswith((":int", ":float")):
        Writer.add_implicit_resolver(tag, whole, first)
Reader.add_constructor("tag:yaml.org,2002:int", Reader.construct_whole)


def read(text: str) -> Any:
    """Unfit, with the line, if it cannot be read."""
    try:
        return yaml.load(text, Loader=Reader)  # a SafeLoader
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        place = f"Line {mark.line + 1}: " if mark else ""
        raise Unfit("file", f"{place}{getattr(fault, 'problem', None) or fault}") from fault
    except (RecursionError, ValueError) as fault:
        if isinstance(fault, Unfit):
            raise
        raise Unfit("file", f"It cannot be read: {fault}") from fault


def write(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=Writer, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=False
    )
    return text
