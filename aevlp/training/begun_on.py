"""On what data a run was begun: written down with the first epoch, and compared when it goes on."""

from __future__ import annotations

from aevlp.config.errors import ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import SPMLData
from aevlp.data.fingerprint import Fingerprint, fingerprint
from aevlp.runs.folder import RunFolder

UNKNOWN_DATA = "an older version began this run and did not write down on what data; whether they have changed is not known"


def unchanged_data(config: ExperimentConfig, folder: RunFolder) -> SPMLData | None:
    """The data that the run was begun on; None where it does not tell, so that there is nothing to compare.

    Raises:
        ConfigError: they have changed.
    """
    begun_on = folder.read_fingerprint()
    if begun_on is None:
        return None
    data: SPMLData = build_dataset(config.dataset)
    changed = fingerprint(data).difference(begun_on)
    if changed:
        raise ConfigError(
            f"{folder.path.name}: its data have changed since it was begun: {changed}; restore them, or start a new run"
        )
    return data


def known_data(folder: RunFolder, data: SPMLData) -> Fingerprint | None:
    """What the run is trained on, written down where it is new; None where an older version began it."""
    found = folder.read_fingerprint()
    if found is None and not folder.has_begun:
        found = fingerprint(data)
        folder.write_fingerprint(found)
    return found
