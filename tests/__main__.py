"""`python -m tests`: every check that a change must pass, one after another."""

from __future__ import annotations

import subprocess
import sys

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-n", "auto", "--dist", "worksteal", "-q"),
)


def main() -> int:
    """Run the checks; return how many failed."""
    failed = [check for check in CHECKS if subprocess.run([sys.executable, "-m", *check], check=False).returncode]
    for check in failed:
        print(f"failed: {' '.join(check)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
