"""The weights of registry names: where they are kept, and how they get there.

They lie in `<home>/weights/<name>.h5`, where home is `PURE_DETECT_HOME`, else the platform's cache folder. A file that
is missing is downloaded from its author's address, checked, converted, and the original removed. An original that
already lies there under its published name is taken instead of a download, so that it can come by any other way.

`PURE_DETECT_MIRROR` replaces the official addresses: an http(s) address or a local folder that holds the originals
under their published names.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pure_detect.download import DownloadError, check, fetch
from pure_detect.download_progress import DownloadProgress
from pure_detect.errors import InputError
from pure_detect.files import atomic_path
from pure_detect.lock import locked
from pure_detect.registry import PUBLISHED, Published, cached_weights, find_network

MIRROR = "PURE_DETECT_MIRROR"


def weights_of(name: str, renew: bool = False) -> Path:
    """Return the weight file of a registry name; get it first if it is not here.

    Parameters
    ----------
    name : str
    renew : bool
        Get it even if it is here.

    Raises
    ------
    InputError
        If there is no such name, the weights cannot be had, or the folder cannot be written.
    """
    published, path = PUBLISHED[find_network(name).name], cached_weights(name)
    if path.is_file() and (published.bundled or not renew):
        return path
    if published.bundled:
        raise InputError(f"{path}: expected the weights that come with the package, found none; install it anew")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent}: expected a folder that can be made, found: {error.strerror}; "
            f"PURE_DETECT_HOME names another"
        ) from None
    with locked(path.with_name(f".{name}.lock"), lambda: _say(f"{name}: another process is getting it; waiting")):
        if renew or not path.is_file():  # the process that held the lock may have made it
            _convert(_original(published, path), published, path)
            _say(f"{name}: kept at {path}")
    return path


def _original(published: Published, path: Path) -> Path:
    """Return the published file, in the folder of `path`."""
    name = published.network.name
    if not published.addresses:
        raise InputError(
            f"{name}: no weights at {path}, and no single file is published; make one with "
            f"`weights-convert SOURCE --model {name} --out {path}`, or name one with `--model FILE`"
        )
    target, problems = path.with_name(published.file), []
    if target.is_file():
        check(target, published.size, published.sha256)
        return target
    for source in _sources(published):
        try:
            return _get(source, target, published)
        except DownloadError as error:
            problems.append(str(error))
    raise InputError(
        f"{name}: no weights at {path}, and none to be had: {'; '.join(problems)}; "
        f"name a weight file with `--model FILE`, or put {published.file} at {target}; "
        f"`pure-detect demo` needs no download"
    )


def _sources(published: Published) -> tuple[str | Path, ...]:
    """Return where to look: the mirror alone if there is one, else the official addresses."""
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return published.addresses
    if urlsplit(mirror).scheme in ("http", "https"):
        return (f"{mirror.rstrip('/')}/{published.file}",)
    return (Path(mirror).expanduser() / published.file,)


def _get(source: str | Path, target: Path, published: Published) -> Path:
    if isinstance(source, Path):
        if not source.is_file():
            raise DownloadError(f"{source}: expected a file in the folder that {MIRROR} names, found nothing")
        check(source, published.size, published.sha256)
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return target
    size = f"{1e-6 * published.size:.1f} MB " if published.size else ""
    _say(f"{published.network.name}: downloading {size}from {source}")
    progress = DownloadProgress(published.file)
    try:
        return fetch(source, target, size=published.size, sha256=published.sha256, report=progress)
    finally:
        progress.close()


def _convert(original: Path, published: Published, path: Path) -> None:
    """Write the weight file, and remove the original: it is of no more use, or of none at all."""
    # Both packages ship together; the converters are needed here alone.
    from weights_convert.hdf5_layout import write_weights
    from weights_convert.sources import convert

    network = published.network
    try:
        parameters, source = convert(original, network, network.batch_norm_rule)
    except InputError:
        original.unlink()
        raise
    write_weights(path, network, parameters, source=source)
    original.unlink()


def _say(message: str) -> None:
    """Print a notice; standard output is for results alone."""
    print(message, file=sys.stderr, flush=True)
