"""Hides passwords in text that people will see.

Why: a camera's address often has its user and password in it, and an error that repeats the address ends up in a log, a
screenshot or a ticket. Traps: passwords are pasted as they are, with `@` and `/` in them, so everything up to the last
`@` goes; and a path has only one slash where the address had two. And a text may be a stranger's, and long: every step
here takes time in proportion to its length, which a pattern with two stars would not.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\S+")
_IN_QUERY = re.compile(
    r"""(?<=[?&;_-])((?:access_?|api_?)?(?:token|password|passwd|pwd|pass|secret|key|signature|sig|auth)=)[^&\s'"]+""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text with *** for every user and password in an address, and for every password or token in a query."""
    if "@" in text:
        text = _WORD.sub(lambda word: _without_user(word[0]), text)
    return _IN_QUERY.sub(r"\1***", text) if "=" in text else text


def _without_user(word: str) -> str:
    """`rtsp://user:password@host` without its user and password; `user:password@host` too."""
    end = word.rfind("@")
    if end < 0:
        return word
    scheme = word.find(":/", 1, end)
    if scheme > 0 and word[scheme - 1].isalnum():
        start = scheme + (3 if word.startswith("/", scheme + 2) else 2)
        return f"{word[:start]}***{word[end:]}"
    colon = word.find(":", 1, end)
    if colon < 0:
        return word
    start = max(word.rfind(mark, 0, colon) for mark in "/'\"(=") + 1
    return f"{word[:start]}***{word[end:]}"
