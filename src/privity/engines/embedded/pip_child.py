"""`python -m pip`, except that it ends with its parent: a killed `privity up` leaves no download behind."""

import runpy
import sys

from privity.engines.embedded.children import exit_with_parent

if __name__ == "__main__":
    exit_with_parent()
    sys.argv[0] = "pip"
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
