"""What the Dockerfile does, without a container: its script, then the service as a user who may write nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hostile_images import encoded
from tests.service import Service, serve
from tests.subprocesses import ROOT
from tests.tiny_networks import detector_file, quadrants

NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
SOURCES = ("LICENSE", "README.md", "container", "gunicorn.conf.py", "pure_detect", "pyproject.toml", "setup.cfg")
PICTURE = encoded("PNG", quadrants())


class Container(NamedTuple):
    """A prepared folder, and the environment in which the service runs in it."""

    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    folder = Path(tempfile.mkdtemp())  # not pytest's own, which other users cannot enter
    folder.chmod(0o755)
    try:
        yield prepare(folder)
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder)


def prepare(folder: Path) -> Container:
    """Run the Dockerfile's script; the packages that it would download are those of this environment."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    for name in (*SOURCES, "weights_convert"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    (target / "models").mkdir(parents=True)
    model = detector_file(target / "models")
    packages = target / "venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    packages.mkdir(parents=True)
    (packages / "of_this_environment.pth").write_text(sysconfig.get_path("purelib"))
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHON": interpreter(folder),
        "LD_LIBRARY_PATH": str(folder / "python" / "lib"),  # where a copied interpreter has its own library
        "PIP_NO_BUILD_ISOLATION": "0",  # which pip reads as: no isolation
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "PURE_DETECT_SERVE_MODELS": str(model),
    }
    script = ["sh", str(source / "container" / "prepare.sh"), str(source), str(target)]
    done = subprocess.run(script, env=variables, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)  # as in the image, which has the target alone
    runtime = {name: text for name, text in variables.items() if name.startswith(("NUMBA", "PURE", "LD"))}
    path = f"{target}/venv/bin:{os.environ['PATH']}"
    return Container(target, {**runtime, "PATH": path, "HOME": "/", "PURE_DETECT_HOME": str(target / "home")})


def interpreter(folder: Path) -> str:
    """Return an interpreter that another user may run: this one, or a copy of it."""
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = base / "bin" / version
    try:
        subprocess.run([program, "-c", ""], check=True, **NOBODY)
    except (OSError, subprocess.CalledProcessError):
        unneeded = shutil.ignore_patterns(
            "__pycache__", "test", "site-packages", "config-*", "*.a", "idlelib", "tkinter"
        )
        shutil.copytree(base / "lib", folder / "python" / "lib", ignore=unneeded)
        (folder / "python" / "bin").mkdir()
        program = shutil.copy(program, folder / "python" / "bin" / version)
    return str(program)


@pytest.fixture
def service(container) -> Iterator[Service]:
    """Run the image's command as nobody."""
    with run(container) as running:
        yield running


def run(container: Container, **variables: str) -> Any:
    command = f"PORT=$1 exec python -m gunicorn --config {container.folder}/gunicorn.conf.py"
    environment = {**container.environment, **variables}
    return serve(command=("sh", "-c", command, "sh"), env=environment, cwd="/", **NOBODY)


def test_the_service_runs_as_a_user_who_may_write_nowhere_and_answers(service, container):
    found = service.post("/predict/v1?score=0.3", PICTURE)
    assert found.status == 200
    assert [o["label"] for o in found.json] == ["class 0", "class 1"]
    assert service.post("/predict/v1?format=annotated", PICTURE).status == 200
    assert service.get("/").status == 200
    status = Path(f"/proc/{service.workers()[0]}/status").read_text()
    assert NOBODY == {} or "Uid:\t65534\t65534\t65534\t65534" in status
    assert service.lines(severity="ERROR") == []
    assert service.stop() == 0


def test_nothing_in_the_prepared_folder_can_be_written(container):
    modes = {path: path.lstat().st_mode for path in container.folder.rglob("*") if not path.is_symlink()}
    assert len(modes) > 200
    assert [path for path, mode in modes.items() if mode & 0o222] == []


def test_a_start_and_requests_leave_the_prepared_folder_as_it_is(container):
    def files() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in container.folder.rglob("*")}

    before = files()
    with run(container) as service:
        assert service.post("/predict/v1", PICTURE).status == 200
    assert files() == before


def test_no_kernel_is_compiled_at_a_start(container):
    with run(container, NUMBA_DEBUG_CACHE="1", PYTHONUNBUFFERED="1") as service:
        assert service.post("/predict/v1", PICTURE).status == 200
        log = service.log.read_text()
    assert "[cache] data loaded from" in log
    assert "[cache] data saved to" not in log


def test_what_was_only_needed_to_build_is_gone(container):
    names = {path.name for path in (container.folder / "venv" / "bin").iterdir()}
    assert {"python", "pure-detect"} <= names
    assert [name for name in names if name.startswith("pip")] == []


def test_the_dockerfile_copies_what_the_script_needs_and_runs_what_is_tested_here():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in (*SOURCES, "weights_convert")} == {line for line in ignored if line.startswith("!")}
    text = (ROOT / "Dockerfile").read_text()
    assert "RUN sh /source/container/prepare.sh /source /opt/pure-detect" in text
    assert 'CMD ["python", "-m", "gunicorn", "--config", "/opt/pure-detect/gunicorn.conf.py"]' in text
    assert "\nUSER 65534:65534\n" in text
