"""Run aevlp from the command line: `python run.py --help`."""

from aevlp.cli import main

if __name__ == "__main__":  # else each loader worker would run the program again, where processes are spawned
    raise SystemExit(main())
