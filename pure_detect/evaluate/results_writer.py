"""Writes a results file image by image, so that an interrupted run can go on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike

from pure_detect.errors import InputError
from pure_detect.evaluate.checks import show
from pure_detect.evaluate.results import Results
from pure_detect.files import atomic_path

try:
    import fcntl
except ImportError:  # Windows, where nothing keeps a second run from writing the same file
    fcntl = None  # type: ignore[assignment]

ENDING = ".partial"


class ResultsWriter:
    """Collects detections in `PATH.partial`, one line for each finished image, and turns them into `PATH` at the end.

    The first line of the partial file is the run's fingerprint: whatever the detections depend on, such as the
    model, its weights, the settings and the annotations. A later run with the same fingerprint goes on; with another
    one it is refused. A line is either whole or, being the last one of an interrupted run, dropped. `PATH` appears
    when everything is done, at once, and only then the partial file goes.

        with ResultsWriter("results.json", {"model": "yolov3", "score": 0.005}) as writer:
            for image in images:
                if image.id not in writer.done:
                    writer.add(image.id, category_ids, boxes_xywh, scores)
            writer.finish()

    Parameters
    ----------
    path : path
        The results file, COCO's format.
    fingerprint : mapping
        JSON values by name.
    restart : bool
        Throw away what an earlier run left, instead of going on with it.

    Attributes
    ----------
    path, partial : Path
    done : set of int
        Ids of the finished images.

    Raises
    ------
    InputError
        If the partial file is another run's, or damaged, or in use, or cannot be written.
    """

    def __init__(self, path: str | PathLike[str], fingerprint: Mapping[str, Any], *, restart: bool = False) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ENDING)
        self.done: set[int] = set()
        self._failure = ""
        self._fingerprint = json.loads(json.dumps(dict(fingerprint)))  # as it will compare once written
        try:
            self._file: IO[bytes] = self.partial.open("a+b")
        except OSError as error:
            raise InputError(f"{self.partial}: cannot be written: {error.strerror or error}") from None
        try:
            self._lock()
            if restart:
                self._file.truncate(0)
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ResultsWriter:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the partial file; it stays, unless the run was finished."""
        self.close()

    def add(self, image_id: int, category_ids: ArrayLike, boxes_xywh: ArrayLike, scores: ArrayLike) -> None:
        """Note an image as done, with its detections, of which there may be none.

        Parameters
        ----------
        image_id : int
        category_ids : integer array (D,)
        boxes_xywh : array (D, 4)
            Left, top, width, height in pixels.
        scores : array (D,)

        Raises
        ------
        InputError
            If a number is NaN or infinite, a width or height not greater than 0, or the file cannot be written.
        ValueError
            If the image is done already.
        """
        if image_id in self.done:
            raise ValueError(f"image {image_id} is done already")
        count = len(np.asarray(scores))
        image_ids = np.full(count, image_id, np.int64)
        found = Results(image_ids, category_ids, boxes_xywh, scores, source=f"image {image_id}")
        columns = (found.category_ids.tolist(), found.boxes_xywh.tolist(), found.scores.tolist())
        detections = [{"category_id": c, "bbox": b, "score": s} for c, b, s in zip(*columns)]
        self._write({"image_id": int(image_id), "detections": detections})
        self.done.add(int(image_id))

    def finish(self) -> Path:
        """Write the results file from all finished images, remove the partial file, and return the results' path."""
        with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8") as out:
            separator = "[\n"
            for line in self._lines():
                for detection in line["detections"]:
                    out.write(separator + json.dumps({"image_id": line["image_id"], **detection}))
                    separator = ",\n"
            out.write("[]\n" if separator == "[\n" else "\n]\n")
            out.flush()
            os.fsync(out.fileno())
        self.close()  # first, as Windows removes no open file
        self.partial.unlink()
        return self.path

    def close(self) -> None:
        """Close the partial file and leave it for a later run."""
        with suppress(OSError):  # of a write that failed, which was told when it did
            self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            expected = "a file that no other run is writing"
            raise InputError(f"{self.partial}: expected {expected}, found one that is in use") from None
        except OSError:  # a network file system without locks: better to go on than to never start
            pass

    def _write(self, line: dict[str, Any]) -> None:
        """Append a line. After one that failed nothing is written any more: it would not begin on a line of its own."""
        try:
            if not self._failure:
                self._file.write(json.dumps(line).encode() + b"\n")
                self._file.flush()
        except OSError as error:
            self._failure = f"{self.partial}: cannot be written: {error.strerror or error}"
        if self._failure:
            raise InputError(self._failure)

    def _resume(self) -> None:
        """Read what an earlier run left, and drop the last line if it is not whole; begin a file that holds nothing."""
        for line in self._lines():
            if line["image_id"] in self.done:
                raise InputError(f"{self.partial}: expected each image once, found {line['image_id']} twice; delete it")
            self.done.add(line["image_id"])
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        self._file.truncate(whole)
        if not whole:
            self._write({"fingerprint": self._fingerprint})

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the whole lines of the finished images, after the fingerprint was compared."""
        self._file.seek(0)
        for number, text in enumerate(self._file):
            if not text.endswith(b"\n"):
                return
            try:
                line = json.loads(text)
                fields = (dict(line["fingerprint"]),) if number == 0 else (int(line["image_id"]), line["detections"])
            except (ValueError, KeyError, TypeError):
                expected = f"an unfinished run's results in line {number + 1}"
                raise InputError(f"{self.partial}: expected {expected}, found {show(text)}; delete it") from None
            if number == 0:
                self._compare(*fields)
            else:
                yield line

    def _compare(self, theirs: dict[str, Any]) -> None:
        """Require the fingerprint of this run."""
        for name in sorted(theirs.keys() | self._fingerprint.keys()):
            was, now = theirs.get(name), self._fingerprint.get(name)
            if was != now:
                raise InputError(
                    f"{self.partial}: expected an unfinished run with {name} {show(now)}, found one with {show(was)};"
                    " delete the file, or choose another one for the results"
                )
