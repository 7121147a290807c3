"""Where somebody goes after a login: to the page of ours that they wanted, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

LOGIN: Final = "/login"
HOME: Final = "/"

_LONGEST: Final = 1024
"""Characters: with the rest of a login by OpenID it must fit into a cookie of 4 KiB."""

_PATH: Final = re.compile(r"/[\x21-\x7e]*")


def target_of(text: str) -> str:
    r"""Give `text`, if it is a path of ours; else where the list is.

    Browsers take ``//host`` and ``/\host`` for another site, and leave out control characters
    before they look.
    """
    is_path = len(text) <= _LONGEST and _PATH.fullmatch(text) is not None
    if not is_path or "//" in text or "\\" in text or is_login(re.split("[?#]", text)[0]):
        return HOME
    return text


def login_address(target: str) -> str:
    """Give the address of the login page for who wanted to go to `target`."""
    target = target_of(target)
    return LOGIN if target == HOME else f"{LOGIN}?to={quote(target, safe='')}"


def wanted_of(scope: Mapping[str, Any]) -> str:
    """Give what a request asks for, path and query, as it stands in its URL."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope.get("query_string", b"")
    wanted = raw.partition(b"?")[0] + (b"?" + query if query else b"")
    return wanted.decode("latin-1")


def is_login(path: str) -> bool:
    """Whether a path is the login page's, or of what belongs to it."""
    return path == LOGIN or path.startswith(f"{LOGIN}/")
