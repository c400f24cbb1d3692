"""A fuzzer that reads the service's own description finds nothing that contradicts it, and no failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import serve
from tests.tiny_networks import detector_file

# The service says 415 to bytes that are no image, which is no contradiction to taking any bytes: hence no acceptance.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)


def test_an_api_fuzzer_finds_no_contradiction_and_no_5xx(tmp_path):
    model = detector_file(tmp_path)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", "--seed", "1", "--max-examples", "60"]
    with serve("--models", str(model)) as service:
        run = subprocess.run(
            [*command, "--checks", ",".join(CHECKS), "--continue-on-failure", f"{service.url}/openapi.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if run.returncode:
            pytest.fail(run.stdout + run.stderr)
        statuses = {line["status"] for line in service.lines(message="request")}
        assert {200, 400, 404, 415} <= statuses  # it has looked around
        assert max(statuses) < 500
        assert service.lines(severity="ERROR") == []
