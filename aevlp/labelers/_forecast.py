"""What the labels of a labeler are probably worth before anything is trained on them, by known labels alone."""

from __future__ import annotations

from dataclasses import dataclass

from aevlp.labelers._base import Trial
from aevlp.labelers._calibrate import estimate_unknown
from aevlp.metrics.hidden_labels import Hidden, Worth, weigh, worth


@dataclass(frozen=True)
class Forecast:
    """See `aevlp.metrics.hidden_labels`."""

    worth: Worth
    num_images: int
    """Photos that one known label each was hidden of."""
    expected_positives: float
    """Positives a photo, known ones included."""
    estimated: bool
    """Whether that is an estimate, as nobody said it."""
    all_known: bool = False
    """Whether every label of these photos is known, so that none can be given."""

    @property
    def labels_per_image(self) -> float:
        """Pseudo-positives a photo."""
        return self.worth.labels / self.num_images

    @property
    def tells_precision(self) -> bool:
        """Not where the expected positives are an estimate by scores that say nothing."""
        return self.worth.labels > 0 and not (self.estimated and self.worth.is_chance)

    def figures(self) -> dict[str, float]:
        """By metric name, in percent where shares."""
        found = {
            "labeler/forecast_recall": 100 * self.worth.recall, "labeler/forecast_chance": 100 * self.worth.chance,
            "labeler/forecast_labels_per_image": self.labels_per_image,
        }  # fmt: skip
        if self.tells_precision:
            found |= {"labeler/forecast_precision": 100 * self.worth.precision, "labeler/forecast_f1": 100 * self.worth.f1}
        return found

    def lines(self, calibrated: bool) -> list[str]:
        """For people: what is expected, and a warning where that is no better than chance.

        `calibrated` is whether known labels have chosen the settings.
        """
        if self.all_known:
            return [f"pseudo-labels: all labels of {self.num_images:,} photos are known, so there are none to give them"]
        if not self.worth.labels:
            advice = (
                "by known labels, any would probably be wrong (labeler.calibrate=0 takes the settings as given)"
                if calibrated
                else "a lower labeler.threshold gives some, labeler.calibrate=1000 chooses one"
            )
            return [f"pseudo-labels: none in {self.num_images:,} photos; {advice}"]
        whence = "an estimate" if self.estimated else "loss.expected_positives"
        right = (
            f", about {100 * self.worth.precision:.0f} % of them right ({self.expected_positives:.1f} classes a photo: {whence})"
            if self.tells_precision
            else ""
        )
        found = [
            f"pseudo-labels, by one known label hidden in each of {self.num_images:,} photos: {self.labels_per_image:.2f} a "
            f"photo, about {100 * self.worth.recall:.0f} % of what is to be found{right}"
        ]
        if self.worth.is_chance:
            found.append(
                f"these pseudo-labels are hardly better than chance, which would find {100 * self.worth.chance:.0f} %: look at "
                "them (`label`), try other prompts or another encoder, or train without (labeler=none, loss=gr)"
            )
        return found


def forecast(trial: Trial, hidden: Hidden, unknown_positives: float | None) -> Forecast:
    """Look for hidden labels at the labeler's settings; arguments as of `aevlp.labelers._calibrate.calibrate`."""
    total = estimate_unknown(trial, hidden) if unknown_positives is None else unknown_positives
    weighed = weigh(trial.scores(), hidden, total)
    found = worth(hidden, weighed, trial.label(hidden.observed), trial.label(hidden.left))
    count = len(hidden.column)
    expected = (weighed.total + int((hidden.observed > 0).sum())) / count
    return Forecast(found, count, expected, unknown_positives is None, all_known=bool(hidden.observed.all()))
