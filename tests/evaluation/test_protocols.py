import pytest

from poselens.data.finegym_clips import CLASSES as GYM_CLASSES
from poselens.data.finegym_clips import PUBLISHED as GYM
from poselens.data.ntu_protocols import NTU60, NTU120
from poselens.errors import UsageError
from poselens.evaluation.protocols import PROTOCOLS, Counts, known, named, recognised, shortfall

NTU = [(ntu, protocol) for ntu in (NTU60, NTU120) for protocol in ntu.protocols]


def test_every_protocol_says_all_that_a_number_depends_on():
    assert len({protocol.name for protocol in PROTOCOLS}) == len(PROTOCOLS)
    for protocol in PROTOCOLS:
        said = protocol.as_dict()
        assert all(said[key] for key in (
            "data", "split", "metric", "metric_said", "views", "selection", "published", "source",
            "own_names",
        )), protocol.name  # fmt: skip
        assert "test" not in protocol.selection.replace("never by the test part", "")


@pytest.mark.parametrize(("ntu", "own"), NTU, ids=lambda value: getattr(value, "name", ""))
def test_counts_of_ntu_are_those_of_its_importer(ntu, own):
    protocol = named(own.name)
    assert protocol.counts == (Counts(*own.published),)
    assert protocol.classes == len(ntu.classes)


@pytest.mark.parametrize("subset", ["gym99", "gym288"])
def test_counts_of_finegym_are_those_of_its_importer(subset):
    protocol = named(f"fine{subset}")
    assert protocol.counts == tuple(Counts(*GYM[subset, v]) for v in ("v1.0", "v1.1"))
    assert protocol.classes == GYM_CLASSES[subset]
    assert protocol.expected("test") == (GYM[subset, "v1.0"][1],)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="called 'ntu60-xsb'; did you mean 'ntu60-xsub'") as caught:
        named("ntu60-xsb")
    assert caught.value.code == "CFG-110"
    assert known("ntu60-xsb") is None


def test_a_subset_is_told_in_numbers_and_more_is_refused():
    protocol = named("nw-ucla")
    assert shortfall(protocol, "test", 464) is None
    assert shortfall(protocol, "test", 400) == "400 of the 464 test clips of nw-ucla"
    with pytest.raises(UsageError, match="found 465 clips in the test part, nw-ucla has 464") as c:
        shortfall(protocol, "test", 465)
    assert c.value.code == "EVAL-040"
    assert shortfall(named("drawn"), "test", 7) is None
    for train in (20_484, 26_320):
        assert shortfall(named("finegym99"), "train", train) is None


def test_a_split_is_recognised_by_name_classes_and_clips():
    assert recognised("ntu60-xsub", 60, 100).name == "ntu60-xsub"
    assert recognised("xsub", 60, 16_487).name == "ntu60-xsub"
    assert recognised("xsub", 120, 50_919).name == "ntu120-xsub"
    assert recognised("ctr-gcn", 60, 18_932).name == "ntu60-xview"
    for name, classes, test in (
        ("xsub", 60, 16_486), ("ntu60-xsub", 10, 100), ("nw-ucla", 10, 465), ("p", 60, 16_487),
    ):  # fmt: skip
        assert recognised(name, classes, test) is None
    # all 464 clips are never taken for those without copies
    assert recognised("nw-ucla", 10, 369).name == "nw-ucla"
