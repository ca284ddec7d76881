"""`python -m toller` becomes the program that came with this package."""

import os
import sys
from importlib.metadata import files
from pathlib import Path

installed = [file.locate() for file in files("toller") or [] if file.name == "toller"]
# `pip install --target` moves what it has recorded.
for program in [*installed, Path(__file__).parents[1] / "bin" / "toller"]:
    if os.access(program, os.X_OK):
        os.execv(program, [str(program), *sys.argv[1:]])
sys.exit("toller: finding the program: it is not where this package was installed\ninstall it again: pip install --force-reinstall toller")
