import inspect
import pickle

import pytest

from poselens import errors
from poselens.errors import (
    AnnotationError,
    CheckpointError,
    EnvironmentFault,
    InputError,
    NumericFault,
    PoselensError,
    SkeletonError,
    UsageError,
    VideoError,
)

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (InputError, 3),
        (VideoError, 3),
        (SkeletonError, 3),
        (AnnotationError, 3),
        (CheckpointError, 4),
        (EnvironmentFault, 5),
        (NumericFault, 1),
        (PoselensError, 70),
    ],
)
def test_every_kind_has_its_exit_code(kind, code):
    assert kind.exit_code == code
    assert kind in KINDS


def test_every_kind_is_documented():
    written = inspect.getdoc(errors)
    for kind in KINDS:
        assert issubclass(kind, PoselensError)
        assert kind.__name__ in written


def test_the_text_names_place_fault_and_mend():
    fault = VideoError("VID-002", "the file is empty", file="a.mp4", where="frame 3", mend="look")
    assert str(fault) == "a.mp4:frame 3: the file is empty. Mend: look"
    assert str(UsageError("CFG-001", "wrong")) == "wrong"
    assert str(UsageError("CFG-001", "wrong", where="lr")) == "lr: wrong"
    assert str(UsageError("CFG-001", "wrong", mend="x")) == "wrong. Mend: x"


def test_the_same_facts_for_json():
    fault = InputError("DATA-024", "bad", file="f", where="w", mend="m")
    assert fault.as_dict() == {
        "code": "DATA-024",
        "message": "bad",
        "file": "f",
        "where": "w",
        "mend": "m",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_errors_travel_between_processes(kind):
    fault = kind("X-001", "bad", file="f", where="w", mend="m")
    sent = pickle.loads(pickle.dumps(fault))
    assert type(sent) is kind
    assert str(sent) == str(fault)
    assert sent.as_dict() == fault.as_dict()
