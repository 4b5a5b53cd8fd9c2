"""Class names that are several labels, separated otherwise than a table separates them."""

from __future__ import annotations

import re
from collections import defaultdict

_LIST = re.compile(r"""[\[(]\s*((['"]).*\2[\s,]*)?[\])]""", re.DOTALL)  # as Python, NumPy and JSON write one of words


def several_in_one(names: set[str]) -> dict[str, list[str]]:
    """Of these names, those that are several labels separated otherwise, or a list of one, and their parts.

    `a, b` where one is a name itself; `a; b` and `[a, b]` where all are; `a, b` beside `b, a`, or beside `c, a` and `b, c`, where
    each part stands in another such name, some in another place; and whatever programs write of a list: `['a', 'b']`, `[]`.
    """
    parts = {name: _parts(name) for name in sorted(names) if re.search(r"[,;]|[])]$", name)}
    places: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for some in parts.values():
        for place, part in enumerate(dict.fromkeys(some)):
            places[part][place] += 1
    found = {}
    for name, some in parts.items():
        is_list = name[0] + name[-1] in ("[]", "()")
        enough = any if ";" not in name and not is_list else all
        are_names = len(some) > 1 and enough(part in names for part in some)
        recur = len(some) > 1 and all(sum(places[part].values()) > 1 for part in some)
        if _LIST.fullmatch(name) or are_names or (recur and any(len(places[part]) > 1 for part in some)):
            found[name] = some
    return found


def _parts(name: str) -> list[str]:
    if _LIST.fullmatch(name):
        return [one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", name)]
    return [part.strip() for part in re.split("[,;]", name[1:-1] if name[0] + name[-1] in ("[]", "()") else name)]
