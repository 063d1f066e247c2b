"""How much a test may ask of the build at hand: sanitizers are several times slower and larger."""

import os
import subprocess

from support import LOOMGATE_BIN, environment


def _flavour():
    try:
        said = subprocess.run([LOOMGATE_BIN, "-V"], capture_output=True, text=True, env=environment()).stdout
    except OSError:
        return "release"
    words = said.partition("(")[2].split()
    return words[0] if words else "release"


FLAVOUR = _flavour()
IS_SANITIZED = FLAVOUR in ("asan", "ubsan", "tsan", "fuzz")
SCALE = float(os.environ.get("E2E_SCALE", "0.05" if IS_SANITIZED else "1"))


def scaled(number, least=1):
    """`number` on a release build, less on a sanitized one, or what E2E_SCALE says."""
    return max(least, int(number * SCALE))
