"""How every kernel is compiled, cached and threaded: the only module that talks to Numba's machinery.

Three decisions, each an answer to something that goes wrong with Numba in production:

* **Threads are Python's, not Numba's.** Kernels release the GIL and compute a range of independent outputs;
  :func:`parallel_for` gives each thread of a small pool its own range. Numba's `prange` would bring a threading
  layer along: OpenMP kills a forked child that enters a parallel region, workqueue aborts when two Python threads
  enter one, and each parallel kernel compiles about four times as long. The pool is made anew after a fork.
* **The cache folder is named after the sources.** Numba notices a changed kernel, not a changed helper in another
  file, so the folder's name holds a hash of every Python file of the package. Another CPU, compiler or flag set has
  its own entries or folder. A folder that cannot be written is read from; one that cannot be read costs the
  cache, never the import.
* **Flags stand here once.** No `fastmath`: NaN and infinity keep their meaning. Division follows NumPy.

Environment: `NUMBA_CACHE_DIR` (else `PURE_DETECT_HOME`, else the platform's cache folder) says where the cache lives;
`NUMBA_DISABLE_JIT=1` and `NUMBA_BOUNDSCHECK=1` work as in Numba, for tests.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, config
from numba.core.runtime import rtsys

FLAGS = {"nogil": True, "error_model": "numpy"}

COMPILE_ATTEMPTS = 10  # more than any kernel calls others
NOTICE_AFTER = 1.5  # seconds

Kernel = Callable[..., Any]

_compile_lock = threading.RLock()
_pool_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_threads = 0
_told = False
_worker = threading.local()


def home() -> Path:
    """Return the folder for everything we keep: `PURE_DETECT_HOME`, else the platform's cache folder."""
    if "PURE_DETECT_HOME" in os.environ:
        return Path(os.environ["PURE_DETECT_HOME"]).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/pure-detect").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "pure-detect" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pure-detect"


@functools.cache
def cache_folder() -> Path:
    """Return the folder of this version's compiled kernels; its name hashes the package's sources and our flags."""
    digest = hashlib.sha256(f"{FLAGS} {config.BOUNDSCHECK} {numba.__version__}".encode())
    package = Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    base = Path(os.environ["NUMBA_CACHE_DIR"]) if os.environ.get("NUMBA_CACHE_DIR") else home() / "kernels"
    return base / f"pure_detect-{digest.hexdigest()[:16]}"


@contextmanager
def _numba_cache_dir(folder: Path) -> Iterator[None]:
    """Point Numba's cache at `folder` while a kernel is declared; other packages keep their own setting.

    Numba asks that it can write there, and would else go on to a folder that no source hash names. To load what is in
    a read-only folder is worth as much, so the question is left out; saving then fails, which :func:`_compile` allows.
    """
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    check, caching._CacheLocator.ensure_cache_path = caching._CacheLocator.ensure_cache_path, _make_folder
    try:
        yield
    finally:
        config.CACHE_DIR, caching._CacheLocator.ensure_cache_path = before, check


def _make_folder(locator: Any) -> None:
    with suppress(OSError):
        os.makedirs(locator.get_cache_path(), exist_ok=True)


def kernel(function: Callable[..., Any]) -> Kernel:
    """Declare a Numba kernel: compiled on first use, without the GIL, cached on disk where that is possible."""
    if _cache_is_usable():
        with _numba_cache_dir(cache_folder()), suppress(RuntimeError):  # a function that stands in no file
            return numba.njit(cache=True, **FLAGS)(function)
    return numba.njit(**FLAGS)(function)


@functools.cache
def _cache_is_usable() -> bool:
    """Tell whether there is a cache to write to, or one to read from, such as a container's that was warmed before."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return os.access(cache_folder(), os.R_OK | os.X_OK)
    except (OSError, RuntimeError):  # RuntimeError: a home folder that cannot be found
        return False


def _types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return () if config.DISABLE_JIT else tuple(numba.typeof(argument) for argument in arguments)


def _compile(function: Kernel, signature: tuple[Any, ...]) -> None:
    """Compile `function` for arguments of these types if that has not been done, one thread at a time."""
    if config.DISABLE_JIT:
        return
    if signature in function.overloads:  # type: ignore[attr-defined]
        return
    with _compile_lock, _notice_of_compilation():
        if _load(function, signature):
            return
        for _ in range(COMPILE_ATTEMPTS):
            try:
                function.compile(signature)  # type: ignore[attr-defined]
            except (EOFError, pickle.UnpicklingError):  # a truncated file in the cache
                shutil.rmtree(cache_folder(), ignore_errors=True)
            except OSError:
                # A full disk: this kernel, or one that it calls, is compiled and only could not be saved. The next
                # attempt finds it in memory and gets further.
                if signature in function.overloads:  # type: ignore[attr-defined]
                    return
            else:
                return
        function.compile(signature)  # type: ignore[attr-defined]


def _load(function: Kernel, signature: tuple[Any, ...]) -> bool:
    """Load a kernel that is in the cache; tell whether it was.

    Left to itself, Numba first loads all that it knows of Python and NumPy, in order to compile, which takes longer
    than everything else at a start. A kernel from the cache only needs the run-time system.
    """
    cache = getattr(function, "_cache", None)
    if not isinstance(cache, caching.FunctionCache):
        return False
    context = function.targetctx  # type: ignore[attr-defined]
    rtsys.initialize(context)
    try:
        found = cache._load_overload(signature, context)
    except Exception:  # whatever a damaged file leads to: the way of :func:`_compile` deals with it
        return False
    if found is None:
        return False
    context.insert_user_function(found.entry_point, found.fndesc, [found.library])
    function.add_overload(found)  # type: ignore[attr-defined]
    function._cache_hits[signature] += 1  # type: ignore[attr-defined]
    return True


@contextmanager
def _notice_of_compilation() -> Iterator[None]:
    """Say on standard error, once a process, what takes so long; loading from the cache is over before."""
    global _told
    notice = threading.Timer(NOTICE_AFTER, _tell)
    notice.daemon = True
    if not _told:
        notice.start()
    try:
        yield
    finally:
        notice.cancel()


def _tell() -> None:
    global _told
    if not _told:
        _told = True
        print(f"compiling kernels for this processor, once; they are kept in {cache_folder().parent}", file=sys.stderr)


def is_compiling() -> bool:
    """Tell whether kernels are compiled at all; with `NUMBA_DISABLE_JIT=1` they run as plain Python."""
    return not config.DISABLE_JIT


def run(function: Kernel, *arguments: Any) -> Any:
    """Call a kernel on the calling thread."""
    _compile(function, _types(arguments))
    return function(*arguments)


def address(function: Kernel, signature: tuple[Any, ...]) -> int:
    """Return where the machine code of a kernel begins, for arguments of these Numba types.

    Other kernels can call it there, without it becoming a part of them.
    """
    _compile(function, signature)
    compiled = function.overloads[signature]  # type: ignore[attr-defined]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def parallel_for(function: Kernel, count: int, *arguments: Any) -> None:
    """Call `function(start, stop, *arguments)` on ranges that together cover `range(count)`, one a thread.

    Outputs of different indices must be independent, so the result does not depend on the number of threads. Called
    from inside one of the pool's own threads it runs serially.
    """
    if count <= 0:
        return
    _compile(function, _types((0, count, *arguments)))
    parts = 1 if getattr(_worker, "is_worker", False) else min(threads(), count)
    bounds = [count * i // parts for i in range(parts + 1)]
    futures = [
        _shared_pool().submit(function, start, stop, *arguments) for start, stop in zip(bounds[1:-1], bounds[2:])
    ]
    try:
        function(bounds[0], bounds[1], *arguments)
    finally:
        for future in futures:
            future.result()


def threads() -> int:
    """Return the number of threads that kernels use."""
    return _threads or available_cpus()


def set_threads(count: int | None) -> None:
    """Set the number of threads for the whole process; None means every CPU that this process may use."""
    global _threads, _pool
    if count is not None and count < 1:
        raise ValueError(f"threads must be at least 1, got {count}")
    with _pool_lock:
        _threads, _pool = count or 0, None


@functools.cache
def available_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, and its control group's quota in a container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def _mark_worker() -> None:
    _worker.is_worker = True


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, threads() - 1), "pure-detect", initializer=_mark_worker)
        return _pool


def _forget_threads_after_fork() -> None:
    """Start a forked child with fresh locks and no pool: the parent's threads do not exist there."""
    global _pool, _pool_lock, _compile_lock
    _pool, _pool_lock, _compile_lock = None, threading.Lock(), threading.RLock()
    _worker.is_worker = False


if hasattr(os, "register_at_fork"):
    # Forking waits for a compilation: Numba's own lock, held by a thread that the child has not got, would stay locked.
    os.register_at_fork(
        before=lambda: _compile_lock.acquire(),
        after_in_parent=lambda: _compile_lock.release(),
        after_in_child=_forget_threads_after_fork,
    )
