"""The service under gunicorn: how its processes, threads, queues and limits fit together."""

from __future__ import annotations

import math
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from pure_detect.errors import InputError
from pure_detect.serve.settings import Settings

SPARE_THREADS = 16  # beside one for each place: for /healthz, for refusing, and for clients that are slow to send
MEMORY_FOLDER = Path("/dev/shm")  # writable in a container whose file system is read-only


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings for ours."""
    options: dict[str, Any] = {
        "bind": settings.address,
        "workers": settings.workers,
        "worker_class": "pure_detect.serve.worker.Worker",
        "threads": settings.places + SPARE_THREADS,
        "worker_connections": 2 * (settings.places + SPARE_THREADS) + 512,
        "keepalive": 15,
        "timeout": 60,  # for the main thread of a worker, which never waits for a client or a detection
        "graceful_timeout": math.ceil(settings.time_limit + settings.read_limit),  # what was accepted is finished
        "limit_request_line": 8190,  # addresses of images can be long
        "limit_request_fields": 64,
        "logger_class": "pure_detect.serve.logs.JsonLogger",
        "errorlog": "-",
        "control_socket_disable": True,
        "proc_name": "pure-detect",
    }
    if os.access(MEMORY_FOLDER, os.W_OK):
        options["worker_tmp_dir"] = str(MEMORY_FOLDER)
    if settings.workers > 1:
        options |= _shared_metrics()
    return options


def _shared_metrics() -> dict[str, Any]:
    """Let the workers share their metrics in files, which prometheus_client must know of before it is imported."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return {"child_exit": _forget_metrics}
    parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="pure-detect-", dir=parent)
    return {"child_exit": _forget_metrics, "on_exit": lambda _: shutil.rmtree(folder, ignore_errors=True)}


def _forget_metrics(_server: Arbiter, worker: Worker) -> None:
    """Take a dead worker's gauges out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


class Server(BaseApplication):
    """Gunicorn with our settings and no configuration file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the settings over."""
        for name, value in gunicorn_options(self.settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the application; called in each worker."""
        from pure_detect.serve.app import create_app

        return create_app(self.settings)


def check_address(settings: Settings) -> None:
    """Find out whether the address can be listened on before anything is loaded.

    Raises
    ------
    InputError
        If it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        message = f"{settings.host} port {settings.port}: expected an address to listen on, found: {found}"
        raise InputError(message) from None
