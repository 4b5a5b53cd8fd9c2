"""`suite --dry-run`: which runs a suite still needs, and what they will take."""

from __future__ import annotations

from aevlp.config.errors import TrainingError
from aevlp.layout import NONE, Sheet
from aevlp.machine import Machine
from aevlp.suites.find import find_runs
from aevlp.suites.plan import Plan
from aevlp.suites.tune import confirmed_by
from aevlp.sweeps.confirmation import num_runs
from aevlp.terminal import Terminal
from aevlp.text import duration
from aevlp.training.cards import Card
from aevlp.training.estimate import CHECKPOINTS, VIEW_MB, Estimate


def dry_run(plan: Plan, machine: Machine, trials: int | None, console: Terminal, card: Card | None = None) -> None:
    """Print a line a row and what all of it takes, here or on a card. `trials` of --tune count as whole runs beside the rows'.

    Raises:
        TrainingError: rows cannot run; each is told with the reason.
    """
    for note in find_runs(plan.jobs):
        console.tell(note, style="yellow", indent=2)
    estimate = Estimate(machine, lambda text: console.say(text, style="dim"), card)
    rows = []
    for line in plan.lines:
        done = sum(job.run is not None for job in line.jobs)
        begun = sum(job.path is not None and job.run is None for job in line.jobs)
        config, left = line.jobs[0].config, len(line.jobs) - done
        more = 0 if trials is None else trials + num_runs(confirmed_by(trials), trials) + len(line.jobs)
        estimate.add(line.title, config, left + more)
        found = estimate.rehearsal(line.title, config) if left + more else None
        seconds = NONE if found is None else duration(found.training_seconds(config.trainer))
        views = NONE if found is None or found.missing is None else f"{found.missing:,}"
        rows.append([line.title, str(done), str(begun), str(left - begun), str(more), str(config.trainer.epochs), seconds, views])
    header = ["method", "done", "begun", "to begin", "to tune", "epochs", "a run", "views to encode"]
    kept = [i for i, name in enumerate(header) if name not in ("begun", "to tune") or {row[i] for row in rows} != {"0"}]
    console.table(Sheet(
        f"{plan.name} on {plan.dataset}, dry run: nothing is trained",
        [header[i] for i in kept], [[row[i] for i in kept] for row in rows],
    ))  # fmt: skip
    views = f", and {estimate.missing * VIEW_MB:,.0f} MB of embeddings at 1 kB a view" if estimate.missing else ""
    told = [*estimate.lines(), ("disk", f"at most {estimate.disk_mb:,.0f} MB of checkpoints, {CHECKPOINTS} a run{views}")]
    none = ("failed", "none of the runs that are left can be made") if estimate.failures else ("done", "no run is left")
    for title, text in told if estimate.disk_mb else [none]:
        console.tell(f"{title:<9} {text}", indent=10)
    if trials is not None:
        fresh = num_runs(confirmed_by(trials), trials)
        console.tell(f"{'to tune':<9} {trials} trials a row, at most {fresh} runs on fresh seeds that confirm its best, and its "
                     "seeds again, counted whole and as if none was there", indent=10)  # fmt: skip
    for text in estimate.failure_lines():
        console.tell(text, style="red", indent=2)
    if estimate.failures:
        raise TrainingError(f"{len(estimate.failures)} of {len(plan.lines)} rows cannot run; mend that before the suite begins")
