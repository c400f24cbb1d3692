"""One JSON object a line: for every request, and for what the server has to say. No image, no query, no header.

The names `severity` and `message` are those that cloud platforms look for.
"""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import timedelta
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from pure_detect.serve.settings import NOTES

QUERY = re.compile(r"\?[^\s'\"]*")


def line(severity: str, message: str, **fields: Any) -> str:
    """Return one line of the log."""
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
    return json.dumps({"time": stamp, "severity": severity, "message": message, **fields}, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """What libraries log, as a line of the same kind; a query in it, which may hold a secret, is left out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = QUERY.sub("?...", record.getMessage())
        fields = {"logger": record.name, "pid": record.process}
        if record.exc_info:
            fields["traceback"] = QUERY.sub("?...", self.formatException(record.exc_info))
        return line(record.levelname, message, **fields)


class JsonLogger(Logger):
    """Gunicorn's logger, writing JSON to standard error."""

    def setup(self, cfg: Config) -> None:
        """Give all loggers the same form and the same place."""
        super().setup(cfg)
        handlers = [handler for handler in self.error_log.handlers if isinstance(handler, logging.StreamHandler)]
        for handler in handlers:
            handler.setFormatter(JsonFormatter())
        logging.captureWarnings(True)
        for name in ("pure_detect", "py.warnings"):
            logging.getLogger(name).handlers[:] = handlers

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line of one request."""
        status = int(str(resp.status).split(None, 1)[0])
        path = environ.get("PATH_INFO") or (getattr(req, "path", None) or "")
        fields = {
            "method": environ.get("REQUEST_METHOD"),
            "path": path[:200],
            "status": status,
            "milliseconds": round(request_time.total_seconds() * 1000, 1),
            "bytes": getattr(resp, "sent", 0),
            "client": environ.get("REMOTE_ADDR"),
            **environ.get(NOTES, {}),
        }
        severity = "ERROR" if status >= 500 and status != 503 else "WARNING" if status >= 400 else "INFO"
        self.error_log.handlers[0].stream.write(line(severity, "request", **fields) + "\n")
