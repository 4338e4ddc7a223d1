"""The command `audit`: one line per rule, with what was checked and what is wrong."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

MOST = 10  # so many problems of a law are shown as text; `--json` has all


def audit(name: str, folder: str | None) -> dict[str, Any]:
    """What an audit showed; `sound` decides the exit status."""
    from sweeps.driver.audit import audit as audit_sweep
    from sweeps.store_file import open_store

    audited = audit_sweep(name, open_store(folder))
    return {
        "name": audited.name,
        "state": audited.state,
        "sound": audited.sound,
        "laws": [asdict(law) | {"holds": not law.problems} for law in audited.laws],
    }


def audit_text(audit: dict[str, Any]) -> str:
    """One line per rule with its problems below it, and the verdict."""
    lines = []
    for law in audit["laws"]:
        verdict = "holds" if law["holds"] else "BROKEN"
        pending = f"; pending: {law['pending']}" if law["pending"] else ""
        lines.append(f"{law['name']:<15} {verdict:<8} {law['checked']}{pending}")
        lines += [f"{'':<15} - {problem}" for problem in law["problems"][:MOST]]
        if more := len(law["problems"]) - MOST:
            lines += [f"{'':<15} - and {more} more (--json has all)"] if more > 0 else []
    to_come = any(law["pending"] for law in audit["laws"])
    word = "not sound" if not audit["sound"] else "sound so far" if to_come else "sound"
    return "\n".join([*lines, f"{audit['name']} ({audit['state']}): {word}"])
