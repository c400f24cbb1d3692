"""The compiled kernels on disk: damaged, unwritable and outdated caches, and Numba's modes for tests."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from pure_detect import jit
from tests.subprocesses import ROOT, run, run_python

pytestmark = pytest.mark.skipif(bool(jit.config.DISABLE_JIT), reason="nothing is compiled")

KERNELS = """
from pure_detect.jit import kernel

@kernel
def plus_one(x):
    return x + 1

@kernel
def add_one(start, stop, out):
    for i in range(start, stop):
        out[i] = plus_one(out[i])
"""

# What a crash, a full disk or a power cut leaves of a file: a part, or its length in zeros.
DAMAGES = {
    "emptied": lambda content: b"",
    "cut_to_20_bytes": lambda content: content[:20],
    "cut_to_half": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
}
VICTIMS = ("*.nb?", "*plus_one*", "*add_one*.nbi", "*add_one*.nbc")


def forget_the_cache_folder():
    jit.cache_folder.cache_clear()
    jit._cache_is_usable.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache folder that kernels declared from now on use."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    forget_the_cache_folder()
    yield tmp_path / "cache"
    forget_the_cache_folder()


def compiled_anew(folder: Path, dtype: type = np.float64) -> list[float]:
    """Declare the kernels as a fresh process would, run them and return the result."""
    source = folder / "kernels_of_this_test.py"
    source.write_text(KERNELS)
    spec = importlib.util.spec_from_file_location("kernels_of_this_test", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = np.arange(3, dtype=dtype)
    jit.parallel_for(module.add_one, 3, out)
    return out.tolist()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("victims", VICTIMS)
def test_a_damaged_cache_costs_a_compilation_and_nothing_else(cache, tmp_path, victims, damage):
    assert compiled_anew(tmp_path) == [1, 2, 3]
    files = list(cache.rglob(victims))
    assert files
    for file in files:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert compiled_anew(tmp_path) == [1, 2, 3]
    assert compiled_anew(tmp_path, np.float32) == [1, 2, 3]  # must look into the inner kernel's files
    assert compiled_anew(tmp_path) == [1, 2, 3]


def test_kernels_are_loaded_from_the_cache_the_second_time(cache, tmp_path):
    compiled_anew(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*.nb?")}
    compiled_anew(tmp_path)
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.nb?")} == before


def test_the_cache_may_vanish_while_the_process_runs(cache, tmp_path):
    compiled_anew(tmp_path)
    shutil.rmtree(cache)
    assert compiled_anew(tmp_path) == [1, 2, 3]


def test_the_cache_folders_name_changes_with_any_source_of_the_package(cache, tmp_path, monkeypatch):
    package = shutil.copytree(
        ROOT / "pure_detect", tmp_path / "pure_detect", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(jit, "__file__", str(package / "jit.py"))

    def folder():
        forget_the_cache_folder()
        return jit.cache_folder()

    names = [folder()]
    assert folder() == names[0]
    helper = package / "ops" / "geometry.py"
    source = helper.read_text()
    for comment in ("# one", "# two"):  # of equal length
        helper.write_text(source + comment)
        names.append(folder())
    helper.rename(helper.with_name("geometry_.py"))  # read in the same order
    names.append(folder())
    monkeypatch.setattr(jit.config, "BOUNDSCHECK", 1)
    names.append(folder())
    assert len({name.name for name in names}) == len(names)


def test_the_cache_lies_where_numba_cache_dir_or_our_home_says(monkeypatch, tmp_path):
    for name in ("NUMBA_CACHE_DIR", "PURE_DETECT_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings = {"XDG_CACHE_HOME": "pure-detect/kernels", "PURE_DETECT_HOME": "kernels", "NUMBA_CACHE_DIR": "."}
    for name, below in settings.items():  # each takes precedence over those before it
        monkeypatch.setenv(name, str(tmp_path / name))
        if name != "XDG_CACHE_HOME" or jit.sys.platform == "linux":
            forget_the_cache_folder()
            assert jit.cache_folder().parent == tmp_path / name / below
    forget_the_cache_folder()


RELU = """
import numpy as np
from pure_detect import ops
print(ops.activation(np.array([-2, 3.5]).reshape(1, 1, 1, 2), function='relu').ravel().tolist())
"""


@pytest.fixture
def unwritable(tmp_path):
    """Return a path below a regular file, which even root cannot write to."""
    (tmp_path / "file").write_text("no folder")
    return str(tmp_path / "file" / "below")


@pytest.fixture
def package_copy(tmp_path):
    """Return a folder with a copy of the package, so that whatever is written there is seen."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pure_detect", tmp_path / "copy" / "pure_detect", ignore=ignored)
    return tmp_path / "copy"


def test_without_any_folder_that_can_be_written_kernels_still_run(unwritable, package_copy):
    homes = dict.fromkeys(("HOME", "NUMBA_CACHE_DIR", "PURE_DETECT_HOME", "XDG_CACHE_HOME"), unwritable)
    read_only = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}  # as where site-packages is read-only
    assert run_python(RELU, timeout=60, path=package_copy, **homes, **read_only) == "[0.0, 3.5]"


def test_a_cache_that_cannot_be_written_is_not_moved_to_where_changed_helpers_go_unnoticed(unwritable, package_copy):
    homes = dict.fromkeys(("HOME", "NUMBA_CACHE_DIR"), unwritable)
    assert run_python(RELU, timeout=60, path=package_copy, **homes) == "[0.0, 3.5]"
    assert [file.name for file in package_copy.rglob("*.nb?")] == []


def test_a_full_disk_costs_the_cache_and_nothing_else(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"  # no file beyond 100 bytes
    assert run_python(limit + RELU, timeout=60, NUMBA_CACHE_DIR=str(tmp_path)) == "[0.0, 3.5]"


def test_a_process_survives_a_cache_that_another_left_truncated(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(RELU, timeout=60, **cache) == "[0.0, 3.5]"
    files = list(tmp_path.rglob("*.nb?"))
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file, share in zip(files, itertools.cycle([0, 0.3, 0.9])):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])
    assert run_python(RELU, timeout=60, **cache) == "[0.0, 3.5]"


@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_operations_pass_their_tests_in_numbas_modes_for_tests(mode):
    tests = ["tests/test_ops.py", "tests/test_ops_inputs.py", "-k", "test_ops.py or rule"]
    last = run(["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests], timeout=120, **{mode: "1"})
    assert "passed" in last
