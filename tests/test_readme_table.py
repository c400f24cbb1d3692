"""The README's table of speeds is what the benchmark wrote, not what somebody typed."""

from __future__ import annotations

import json
import sys

import pytest

from tests.subprocesses import ROOT


def test_the_readmes_table_of_speeds_is_the_benchmarks_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme_table

    result = json.loads((ROOT / "benchmarks" / "results" / "compare.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert readme_table.with_table(readme, result) == readme
    sys.modules.pop("readme_table")
