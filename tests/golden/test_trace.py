"""The first 20 losses of four tiny trainings are those on record.

Whatever moves them (data order, augmentation, networks, optimiser, schedule) was either meant to,
and ``make_golden.py`` writes the new record, or is a fault.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch

spec = importlib.util.spec_from_file_location(
    "make_golden", Path(__file__).parent / "make_golden.py"
)
make_golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_golden)


def test_losses_are_those_on_record(tiny_folder, tmp_path):
    record = json.loads(make_golden.TRACE.read_text())
    found = make_golden.traces(tiny_folder, tmp_path)
    assert found.keys() == record.keys() - {"torch"}
    for branch in found:
        assert len(found[branch]) == make_golden.STEPS
        assert len(set(found[branch])) == make_golden.STEPS
        np.testing.assert_allclose(
            found[branch],
            record[branch],
            rtol=1e-4,
            err_msg=f"{branch}, recorded with torch {record['torch']}, now {torch.__version__}",
        )
