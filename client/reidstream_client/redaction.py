"""Hides passwords in text that people will see.

Why: a camera's address often has its user and password in it, and an error that repeats the address ends up in a log, a
screenshot or a ticket. Trap: passwords are pasted as they are, with `@` and `/` in them, so everything up to the last
`@` goes; and a path has only one slash where the address had two.
"""

from __future__ import annotations

import re

_IN_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*:/{1,2})\S*@")
_WITHOUT_SCHEME = re.compile(r"""[^\s/@:'"]+:(?!/)[^\s@'"]*@""")
_IN_QUERY = re.compile(
    r"""(?<=[?&;_-])((?:access_?|api_?)?(?:token|password|passwd|pwd|pass|secret|key|signature|sig|auth)=)[^&\s'"]+""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text with *** for every user and password in an address, and for every password or token in a query."""
    text = _IN_ADDRESS.sub(r"\1***@", text)
    text = _WITHOUT_SCHEME.sub("***@", text)
    return _IN_QUERY.sub(r"\1***", text)
