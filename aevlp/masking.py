"""Passwords and keys in command lines, URLs and messages, hidden before anything is written, sent or printed.

A secret is known by where it stands (`user:SECRET@host`, `password=SECRET`), by its form (`hf_...`), or because it stands like
that on this command line or in the environment: then it is hidden wherever else it turns up, such as in a driver's message.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote

HIDDEN = "***"
MIN_LENGTH = 6  # of a secret that is looked for anywhere: a shorter one is part of many words
STORAGE_FLAG = "--storage"  # its whole value is hidden, since a path may tell as much as a password
STORAGE_VARIABLE = "AEVLP_STORAGE"

_NAME = r"[\w.-]{0,60}(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|credential)"
# The lengths are bounded, so that a long line costs no more than its length.
_USER_AND_PASSWORD = re.compile(r"([A-Za-z][\w+.-]{0,30}://[^\s\"/:@]{0,200}):([^\s\"]{0,1000})@")
_USER_ALONE = re.compile(r"(https?://)([^\s/:@]{1,1000})@")
_SETTING = re.compile(rf"({_NAME}=)('[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)", re.IGNORECASE)
_FORM = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|wandb_v1_\w{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b")
_FOLDERS = ("PWD", "OLDPWD")  # of the shell: where the user is and was before, and so part of many paths
_FLAG = re.compile(rf"--?{_NAME}", re.IGNORECASE)


def mask(text: str) -> str:
    """The text with every secret in it replaced by `***`."""
    text = _USER_AND_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _USER_ALONE.sub(rf"\1{HIDDEN}@", text)
    text = _SETTING.sub(rf"\1{HIDDEN}", text)
    return mask_known(_FORM.sub(HIDDEN, text))


def mask_known(text: str) -> str:
    """The text without the secrets of this command line and environment, but otherwise as it is: for code."""
    known = _known(tuple(sys.argv[1:]), tuple(filter(_may_tell, os.environ.items())))
    return known.sub(HIDDEN, text) if known else text


def holds_secret(text: str) -> bool:
    """Whether a text has a password or a key in it, as far as its form tells."""
    return any(pattern.search(text) for pattern in (_USER_AND_PASSWORD, _USER_ALONE, _SETTING, _FORM))


def mask_words(words: Sequence[str]) -> list[str]:
    """A command line without secrets; of `--storage URL` only the scheme is left."""
    hidden = []
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, value = word.partition("=")
        if before == STORAGE_FLAG or (flag == STORAGE_FLAG and equals):
            place = word if before == STORAGE_FLAG else value
            scheme, separator, _ = place.partition("://")
            hidden.append((f"{flag}=" if place != word else "") + (f"{scheme}{separator}" if separator else "") + HIDDEN)
        elif _FLAG.fullmatch(before):
            hidden.append(HIDDEN)
        elif equals and re.fullmatch(rf".*{_NAME}", flag, re.IGNORECASE | re.DOTALL):
            hidden.append(f"{flag}={HIDDEN}")
        else:
            hidden.append(mask(word))
    return hidden


@lru_cache(maxsize=1024)  # asked for each variable at each cell of a table
def _may_tell(variable: tuple[str, str]) -> bool:
    name, value = variable
    if name in _FOLDERS:
        return False
    return re.fullmatch(rf".*{_NAME}", name, re.IGNORECASE) is not None or ("://" in value and "@" in value)


@lru_cache(maxsize=4)
def _known(words: tuple[str, ...], variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """What matches the secrets of a command line and an environment; None where there are none."""
    found: set[str] = set()
    for before, word in zip(("", *words), words, strict=False):
        found.update(_secrets_in(word))
        if _FLAG.fullmatch(before):
            found.add(word)
    for name, value in variables:
        found.update(_secrets_in(value) if "://" in value else _secrets_in(f"{name}={value}"))
    found = {secret.strip("'\"") for secret in found}
    found = {form for secret in found for form in (secret, unquote(secret)) if len(form) >= MIN_LENGTH and form != HIDDEN}
    longest_first = sorted(map(re.escape, found), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)") if found else None


def _secrets_in(text: str) -> Iterable[str]:
    for pattern in (_USER_AND_PASSWORD, _USER_ALONE, _SETTING):
        yield from (match[2] for match in pattern.finditer(text))
