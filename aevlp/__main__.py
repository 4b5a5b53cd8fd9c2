"""Run aevlp from the command line: `python -m aevlp --help`."""

from aevlp.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
