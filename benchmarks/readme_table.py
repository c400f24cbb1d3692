"""Writes the README's table of speeds from `benchmarks/results/compare.json`, losses included.

python benchmarks/readme_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compare_report import fastest_peer, ratio, title

HERE = Path(__file__).parent
BEGIN, END = "<!-- speed: written by benchmarks/readme_table.py -->", "<!-- /speed -->"


def table(result: dict[str, Any]) -> str:
    """Return the table of the cases with two threads and one picture."""
    cases = [case for case in result["cases"] if (case["threads"], case["batch"]) == (2, 1)]
    names = list(dict.fromkeys(name for case in cases for name in case["engines"]))
    lines = [f"| Network | {' | '.join(names)} | ratio |", f"| --- |{' ---: |' * (len(names) + 1)}"]
    for case in cases:
        cells = [_cell(case["engines"].get(name, {}), name == fastest_peer(case)) for name in names]
        share = ratio(case)
        lines.append(f"| {title(case)} | {' | '.join(cells)} | {'' if share is None else f'{share:.2f}'} |")
    about = result["machine"]
    where = f"{about['cpu']}, {about['cpus']} cores, {' '.join(about['vector_extensions'])}, {about['date']}"
    return "\n".join([*lines, "", f"({where}; bold: the fastest of the others.)"])


def _cell(entry: dict[str, Any], is_fastest: bool) -> str:
    if "median" not in entry:
        return "-"
    text = f"{1e3 * entry['median']:.1f}"
    return f"{f'**{text}**' if is_fastest else text} ({1e3 * entry['best']:.1f})"


def with_table(readme: str, result: dict[str, Any]) -> str:
    """Return the README's text with the table between its marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table(result)}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    """Rewrite the README."""
    readme = HERE.parent / "README.md"
    result = json.loads((HERE / "results" / "compare.json").read_text())
    readme.write_text(with_table(readme.read_text(), result))


if __name__ == "__main__":
    main()
