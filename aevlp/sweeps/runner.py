"""Running a study: asks for trials, keeps the workers busy, and ends with the exact number of trials."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from aevlp.config.errors import TrainingError
from aevlp.machine import Machine
from aevlp.runs import child
from aevlp.sweeps.confirmation import Confirmation
from aevlp.sweeps.ledger import FIXED, REASON, SURPLUS, ended_for_good, is_own, is_surplus, params_of, reap, try_again
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.repeat import Repeat
from aevlp.sweeps.study import num_wanted
from aevlp.sweeps.summary import best_of_search, write_csv
from aevlp.sweeps.trial import Outcome, Trial, remove_checkpoints
from aevlp.sweeps.verdict import describe_noise
from aevlp.sweeps.view import View
from aevlp.sweeps.workers import InProcessWorker, ProcessWorker
from aevlp.system import take_lock
from aevlp.training.signals import RunStopped, StopFlag

POLL_SECONDS = 0.2
WAIT_SECONDS = 1.0  # for what other processes train
REAP_SECONDS = 60.0


class Runner:
    """One sitting of a study, on one machine."""

    def __init__(
        self, plan: Plan, study: optuna.Study, folder: Path, machine: Machine, view: View, *,
        confirmation: Confirmation | None, in_process: bool, keep_checkpoints: bool,
    ):  # fmt: skip
        self.plan, self.study, self.folder, self.machine, self.view = plan, study, folder, machine, view
        self.confirmation, self.in_process, self.keep_checkpoints = confirmation, in_process, keep_checkpoints
        self.running: dict[int, ProcessWorker | InProcessWorker] = {}
        self.wanted = 0
        self.signal: int | None = None
        self._noise = describe_noise(confirmation)
        self._reasons: list[str] = []  # of the latest trials, empty for one that did not fail

    def run(self, trials: int | None, timeout: float | None) -> None:
        """Go on until `trials` trials have ended for good, or `timeout` minutes are over; the file's values where None.

        Raises:
            RunStopped: after a signal, once every run has saved its state.
            TrainingError: no trial came to its end.
        """
        self.wanted = num_wanted(self.plan, self.study, trials or self.plan.study.trials, self.view.say)
        minutes = timeout or self.plan.study.timeout
        until = None if minutes is None else time.monotonic() + 60 * minutes
        signals = self.plan.base.trainer.stop_signals
        with (self.folder / ".sitting").open("w") as presence, StopFlag(signals) as stop, self.view:
            self._reap(is_alone=_alone(presence))
            ended = len(ended_for_good(self._trials()))
            confirmation = self.confirmation
            most = 0 if confirmation is None else confirmation.num_done + confirmation.most_left(self.wanted, ended)
            self.view.begin(self.wanted, ended, most, self._noise)
            next_reap = time.monotonic() + REAP_SECONDS
            late = was_waiting = False
            while True:
                if stop.signal_number is not None and self.signal is None:
                    self._stop_all(stop.signal_number)
                late = until is not None and time.monotonic() > until
                over = self.signal is not None or late or child.fail_alike(self._reasons)
                waits = not over and self._fill()
                if not self.running and not waits:
                    break
                if waits and not was_waiting:
                    self.view.say("waiting for what other processes train: the confirmation needs it; Ctrl-C leaves it to them")
                was_waiting = waits
                self._poll()
                if time.monotonic() > next_reap:
                    self._reap(is_alone=False)
                    next_reap = time.monotonic() + REAP_SECONDS
                if waits or not self.in_process:
                    self.view.show([worker.trial for worker in self.running.values()])
                    time.sleep(WAIT_SECONDS if waits else POLL_SECONDS)
        write_csv(self.study, self.folder)
        if self.signal is not None:
            raise RunStopped(self.signal)
        if child.fail_alike(self._reasons):
            raise TrainingError(
                f"the last {child.SAME_FAILURES} trials failed alike: {self._reasons[-1]}; mend that, and the same command "
                "continues"
            )
        self._require_one()
        ended = len(ended_for_good(self._trials()))
        why = "the time is over" if late else "another process has the rest of it"
        if ended < self.wanted:
            self.view.say(f"{why}: {ended} of {self.wanted} trials are done; the same command continues")
        elif self.confirmation is not None and self.confirmation.look().lacking:
            self.view.say(f"{why}: the confirmation is not at its end; the same command continues")

    def _reap(self, *, is_alone: bool) -> None:
        for study in [self.study, *([self.confirmation.repeats] if self.confirmation is not None else [])]:
            reap(study, self.folder, self.view.say, is_alone=is_alone)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _fill(self) -> bool:
        """Begin what there is to begin; whether nothing runs here, but more may come of what other processes train."""
        # Looked at before and after asking: what ends or begins elsewhere in between is seen by one of both.
        waits = not self.running and self._others_train()
        while len(self.running) < self.machine.workers and self._ask():
            if self.in_process:
                break
        return not self.running and (waits or self._others_train())

    def _others_train(self) -> bool:
        """Whether other processes train what the confirmation hangs on: one of its own runs, or a trial that is still wanted.

        Not trials beyond those, of a process that was asked for more: these may take for ever.
        """
        if self.confirmation is None:
            return False
        is_searched = len(ended_for_good(self._trials())) >= self.wanted
        studies = [self.confirmation.repeats] if is_searched else [self.study, self.confirmation.repeats]
        return any(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) for study in studies)

    def _ask(self) -> bool:
        """Begin one more run if the study still lacks one: of the base on fresh seeds, of a trial, of a leader on fresh seeds."""
        put_back: list[dict[str, Any]] = []
        while True:
            trials = self._trials()
            ended, running = len(ended_for_good(trials)), sum(trial.state == TrialState.RUNNING for trial in trials)
            if self.confirmation is not None:
                repeat = self.confirmation.next_run(is_searched=ended >= self.wanted and not running)
                if repeat is not None:
                    return self._begin(Repeat(self.plan, repeat, self.folder, self._machine_words))
            if ended + running >= self.wanted:
                return False
            asked = self.study.ask()
            if not is_surplus(self._trials(), asked.number, self.wanted):
                return self._begin(Trial(self.plan, asked, self.folder, self._machine_words))
            asked.set_user_attr(SURPLUS, True)
            self.study.tell(asked, state=TrialState.FAIL)
            trials = self._trials()
            values = trials[asked.number].system_attrs.get(FIXED)
            if values and not any(params_of(trial) == values for trial in trials if is_own(trial)):
                if values in put_back:  # all that was queued has been looked at
                    return False
                put_back.append(values)
                self.study.enqueue_trial(values)  # for a later sitting that wants more, behind the trial that is tried again

    @property
    def _machine_words(self) -> tuple[str, ...]:
        return (f"trainer.threads={self.machine.threads(self.plan.base)}",)

    def _begin(self, trial: Trial) -> bool:
        slot = next(i for i in range(self.machine.workers) if i not in self.running)
        worker = InProcessWorker(trial) if self.in_process else ProcessWorker(trial, self.machine.environment(slot))
        self.running[slot] = worker
        self.view.began(trial)
        return True

    def _poll(self) -> None:
        for slot, worker in list(self.running.items()):
            outcome = worker.poll()
            if outcome is not None:
                del self.running[slot]
                self._finish(worker.trial, outcome)

    def _tell(self, trial: Trial, outcome: Outcome) -> bool | None:
        """Tell the study how a trial ended: whether it is tried again; None where another machine has taken it over."""
        study, again = trial.trial.study, False
        try:
            frozen = study.get_trials(deepcopy=False)[trial.number]
            if frozen.state.is_finished():
                return None
            if outcome.state == "complete":
                study.tell(trial.trial, list(outcome.values))
            elif outcome.state == "pruned":
                study.tell(trial.trial, state=TrialState.PRUNED)
            elif outcome.state == "failed":
                trial.trial.set_user_attr(REASON, outcome.reason)
                study.tell(trial.trial, state=TrialState.FAIL)
            else:
                reason = outcome.reason or "stopped by the user"
                again = try_again(study, frozen, reason, is_retry=outcome.state == "crashed")
        except (UpdateFinishedTrialError, ValueError):
            if not study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                raise
            return None
        return again

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        again = None if outcome.state == "lost" else self._tell(trial, outcome)
        if again is None:
            self.view.say(f"another machine has {trial.title} now, as this one was silent for too long", "yellow")
            return
        if not again:
            self._reasons.append(outcome.reason if outcome.state in ("failed", "crashed") else "")
        ended = len(ended_for_good(self._trials()))
        confirmed = 0 if self.confirmation is None else self.confirmation.num_done
        self.view.ended(trial, outcome, again=again, ended=ended, best=self._best(), confirmed=confirmed)
        noise, self._noise = self._noise, describe_noise(self.confirmation)
        if self._noise and self._noise != noise:  # none any more where another trial than before is the base's
            self.view.say(self._noise)
        write_csv(self.study, self.folder)
        if not self.keep_checkpoints and outcome.state in ("complete", "pruned"):
            remove_checkpoints(self.study, self.folder, {one.number for one in best_of_search(self.study)})
            if self.confirmation is not None:
                remove_checkpoints(self.confirmation.repeats, self.folder, set())

    def _best(self) -> optuna.trial.FrozenTrial | None:
        if len(self.plan.metrics) > 1:
            return None
        try:
            return self.study.best_trial
        except ValueError:
            return None

    def _stop_all(self, number: int) -> None:
        self.signal = number
        self.view.say("stopping: every run saves its state, and the same command continues (a second signal ends at once)")
        for worker in self.running.values():
            worker.stop()

    def _require_one(self) -> None:
        trials = ended_for_good(self._trials())
        if trials and not any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials):
            raise TrainingError(f"no trial came to its end; the last one: {trials[-1].user_attrs.get(REASON, 'unknown')}")


def _alone(presence: IO[str]) -> bool:
    """Whether no other process works on this study on this machine; from now on, one does."""
    alone = take_lock(presence)
    take_lock(presence, shared=True, wait=True)
    return alone is True  # not where there are no locks to tell it
