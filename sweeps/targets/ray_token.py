"""Ray's token, looked for before Ray is imported, which reads its settings then.

Since 2.59 Ray makes a token for every cluster that it starts itself, and does not say so: where there is one it is
used, unless RAY_AUTH_MODE says otherwise. It is sought where Ray seeks it: RAY_AUTH_TOKEN, the file that
RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token.
"""

from __future__ import annotations

import os
from pathlib import Path

from trainers.errors import WRONG_REQUEST, TargetError

MODE = "RAY_AUTH_MODE"
WHERE = "RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token"


def use_token() -> None:
    """Raises TargetError where a token is demanded and there is none."""
    mode = os.environ.get(MODE, "")
    if mode not in ("", "token"):
        return
    found = _token()
    if mode and not found:
        raise TargetError(f"{MODE}=token, but there is no token in {WHERE}", WRONG_REQUEST)
    if found:
        os.environ[MODE] = "token"


def _token() -> str:
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if not named:
            return ""
        # Ray would end the process.
        reason = getattr(error, "strerror", None) or "it is not text"
        raise TargetError(
            f"the token file {named} of RAY_AUTH_TOKEN_PATH can't be read: {reason}", WRONG_REQUEST
        ) from None
