"""Gunicorn's configuration: `python -m gunicorn`, in this folder, serves what PURE_DETECT_SERVE_... variables say.

Everything is decided in `pure_detect/serve/server.py`; `pure-detect serve` runs the same server.
"""

import os

from pure_detect.serve.server import gunicorn_options
from pure_detect.serve.settings import Settings

wsgi_app = "pure_detect.serve.app:create_app()"
globals().update(gunicorn_options(Settings.from_environment(os.environ)))
