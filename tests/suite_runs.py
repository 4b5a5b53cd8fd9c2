"""For tests of suites: a suite of tiny runs, carried out in this process instead of one each."""

from __future__ import annotations

import contextlib
import io
import json

from aevlp.cli import main
from aevlp.runs import child

SMALL = (
    "dataset.image_size=32", "dataset.num_train=48", "dataset.num_val=40", "dataset.num_test=40", "trainer.batch_size=16",
    "trainer.eval_batch_size=40", "trainer.epochs=1", "trainer.evaluate_labeler=false", "trainer.threads=1",
)  # fmt: skip
SUITE = """# Three methods.
ours: AEVLP
lower: AN
upper: Full labels
source: somewhere
set: [trainer.patience=2]
rows:
  Full labels: bce
  AN: {method: an, published: {digits: 12.5}}
  AEVLP: gpr
  SMILE: {method: smile, set: [loss.align=2]}
"""


def write(folder, text=SUITE, name="tiny"):
    """Write a suite's file; returns its path."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def run(path, *words, seeds=2, sets=()):
    """`suite` in this process; returns the exit code."""
    more = ["--set", *SMALL, *sets, "--tracking", "off"]
    return main(["suite", path, "--dataset", "digits", "--seeds", str(seeds), *words, *more])


class InThisProcess:
    """Stands for the process of a run, which is over once it has begun. `fails` holds experiments that end with an error."""

    def __init__(self, patch, fails=()):
        self.began: list[str] = []
        self.fails = fails
        patch.setattr(child, "start", self.start)

    def start(self, path, environment, places=None):
        self.began.append(path.name.rsplit("-", 3)[0])
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            if any(path.name.startswith(name) for name in self.fails):
                print("error: the loss is not finite at step 2")
                code = 1
            else:
                code = main(
                    ["--resume", str(path), *(f"--set={key}={json.dumps(place)}" for key, place in (places or {}).items())]
                )
        (path / child.OUTPUT).write_text(output.getvalue())
        return _Over(code)


class _Over:
    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code
