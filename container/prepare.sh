#!/bin/sh
# Fills a folder with all that the service needs, and takes away the right to change it.
#
#     PURE_DETECT_SERVE_MODELS=yolo-fastest-1.1-xl sh container/prepare.sh SOURCE TARGET
#
# The Dockerfile runs it, and tests/test_container.py. Every PURE_DETECT_SERVE_... variable counts; NUMBA_CPU_NAME and
# NUMBA_CPU_FEATURES say which CPU the kernels are compiled for, PYTHON with which interpreter everything is set up.
# TARGET must be where the service will run from: its path is part of what is cached.
set -eu

source=$1
target=$2

"${PYTHON:-python3}" -m venv "$target/venv"
"$target/venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check "$source[serve]"
cp "$source/gunicorn.conf.py" "$target"

# The weights and the compiled kernels come to lie in $target/home, from where the service will only read.
# From elsewhere than the source: `-m` would import that copy, and the cache would be of its path.
(cd "$target" && PURE_DETECT_HOME="$target/home" "$target/venv/bin/python" -m pure_detect.serve.warm)

# What served to build is neither needed nor wanted in what faces the internet.
"$target/venv/bin/python" -m pip uninstall --quiet --yes pip setuptools 2>/dev/null || true
chmod -R a-w,a+rX "$target"
