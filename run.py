"""Run aevlp from the command line: `python run.py --help`."""

from aevlp.cli import main

raise SystemExit(main())
