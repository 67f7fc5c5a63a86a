"""What the checks of attributions found, of either branch."""

from dataclasses import dataclass
from typing import Any

from poselens.evaluation.explain_page import ShownCheck
from poselens.explain.sanity import Randomisation, Removal


@dataclass(frozen=True, eq=False)
class Checked:
    """What the checks say of a stream's attributions.

    Attributes:
        stream: Name of the stream.
        randomisation: Against networks with random weights.
        deletion: As the most important cells go: pictures without detail, joints held still.
        insertion: As they come.
    """

    stream: str
    randomisation: Randomisation
    deletion: Removal
    insertion: Removal

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {
            "randomisation": self.randomisation.as_dict(),
            "deletion": self.deletion.as_dict(),
            "insertion": self.insertion.as_dict(),
        }

    def shown(self) -> ShownCheck:
        """Return what the page shows."""
        tests = (self.randomisation, self.deletion, self.insertion)
        return ShownCheck(
            self.stream,
            [test.verdict for test in tests],
            [test.passes for test in tests],
            list(self.randomisation.layers),
            [None if each is None else each.mean for each in self.randomisation.ranks],
            list(self.randomisation.likeness),
            [
                (each.kind, each.shares.tolist(), each.curve.tolist(), each.random.tolist())
                for each in (self.deletion, self.insertion)
            ],
        )
