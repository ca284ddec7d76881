"""toller is a program, not a library: run `toller`, or `python -m toller`."""
