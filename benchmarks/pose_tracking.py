"""Id switches of the tracker on drawn scenes of people who cross. Prints one JSON object."""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from poselens.pose.tracking import TrackSettings, track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from crossings import scene, switches

FRAMES = 90


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--least", type=float, default=TrackSettings().least)
    options = parser.parse_args()
    settings = TrackSettings(least=options.least)
    rows = {}
    for people in (2, 3, 4):
        changed, crossings, extra, spent = [], 0, 0, 0.0
        for seed in range(options.scenes):
            drawn = scene(seed, people=people, length=FRAMES)
            begun = time.process_time()
            found = track(drawn.frames, "coco-17", settings=settings)
            spent += time.process_time() - begun
            changed.append(switches(drawn.names, found.sources))
            extra += len(found.positions) - people
            middle = drawn.truth[:, :, :, 0].mean(axis=-1)
            crossings += sum(
                int((np.diff(np.sign(middle[one] - middle[other])) != 0).sum())
                for one in range(people)
                for other in range(one)
            )
        rows[people] = {
            "scenes": options.scenes,
            "crossings": crossings,
            "switches": int(np.sum(changed)),
            "scenes_with_a_switch": int(np.count_nonzero(changed)),
            "tracks_beyond_people": extra,
            "ms_per_frame": round(1000 * spent / options.scenes / FRAMES, 2),
        }
    print(json.dumps({"frames": FRAMES, "noise": 0.015, "dropout": 0.1, "by_people": rows}))


if __name__ == "__main__":
    main()
