"""How this machine is shared among runs that train at the same time."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from aevlp.config.errors import ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.system import own_threads, usable_cores


@dataclass(frozen=True)
class Machine:
    """Workers, each with a share of the cores and one GPU in turn."""

    workers: int
    gpus: tuple[str, ...] = ()
    """CUDA device of each worker in turn; empty leaves the choice to torch."""

    @classmethod
    def of(cls, workers: int, gpus: str | None) -> Machine:
        """`gpus` such as "0,1"; None takes all that are visible.

        Raises:
            ConfigError: `gpus` is no list of devices.
        """
        if gpus is not None:
            if not re.fullmatch(r"[^,\s]+(,[^,\s]+)*", gpus):
                raise ConfigError(f"--gpus {gpus}: write device numbers with commas, such as 0,1")
            return cls(workers, tuple(gpus.split(",")))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible:
            return cls(workers, tuple(visible.split(",")))
        import torch

        return cls(workers, tuple(map(str, range(torch.cuda.device_count()))))

    def environment(self, slot: int) -> dict[str, str]:
        """Variables of the processes of worker `slot`, from 0."""
        return {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}

    def threads(self, config: ExperimentConfig) -> int:
        """CPU threads of a worker: what the experiment says, else its share of the cores, but no more than a run alone takes."""
        return config.trainer.threads or min(own_threads(), max(1, usable_cores() // self.workers))
