"""`python -m pure_detect.serve.warm`: everything that a first start does, once, while a container is built.

Fetches the weights of the models that PURE_DETECT_SERVE_MODELS names, compiles every kernel that they need into the
cache folder, and asks the service for every form of answer.
"""

from __future__ import annotations

import io
import sys
import time

from PIL import Image

from pure_detect.cli.common import DONE, one_line_errors, report
from pure_detect.serve.answers import ANSWERS
from pure_detect.serve.app import create_app
from pure_detect.serve.catalog import WARMING, WARMING_SCORE


def main() -> int:
    """Warm everything up; return the exit status."""
    return one_line_errors(_warm)


def _warm() -> int:
    started = time.perf_counter()
    client = create_app().test_client()
    out = io.BytesIO()
    Image.fromarray(WARMING).save(out, "PNG")
    for model in client.get("/models").get_json()["models"]:
        for form in ANSWERS:
            query = {"model": model["name"], "format": form, "score": str(WARMING_SCORE)}
            reply = client.post("/predict/v1", query_string=query, data=out.getvalue(), content_type="image/png")
            if reply.status_code != 200:
                raise RuntimeError(f"{model['name']}: {reply.text}")
        report(f"{model['name']}: warm")
    report(f"done in {time.perf_counter() - started:.1f} s")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
