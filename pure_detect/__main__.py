"""`python -m pure_detect` is the command `pure-detect`."""

import sys

from pure_detect.cli import main

sys.exit(main())
