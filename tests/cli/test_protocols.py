def test_protocols_are_listed_and_told(poselens):
    answer = poselens("protocols", "--json")
    names = [each["name"] for each in answer.facts["protocols"]]
    assert names == [
        "ntu60-xsub", "ntu60-xview", "ntu120-xsub", "ntu120-xset", "finegym99", "finegym288",
        "nw-ucla", "nw-ucla-no-copies", "utd-mhad", "bandai2", "drawn",
    ]  # fmt: skip
    table = " ".join(poselens("protocols").out.split())
    assert "16,487" in table
    told = " ".join(poselens("protocols", "nw-ucla").out.split())
    assert "cross-view: views 1 and 2 train" in told
    assert "the epoch best on the test part" in told
    one = poselens("protocols", "ntu60-xsub", "--json").facts
    assert one["counts"] == [{"train": 40_091, "test": 16_487}]
    wrong = poselens("protocols", "ntu60-xsb", "--json")
    assert (wrong.code, wrong.facts["error"]["code"]) == (2, "CFG-110")


def test_evaluate_takes_a_published_name_and_tells_cost(poselens, drawn):
    words = ["evaluate", drawn.bundle, drawn.data, "--device", "cpu"]
    answer = poselens(*words, "--protocol", "drawn")
    assert answer.code == 0
    shown = " ".join(answer.out.split())
    assert "drawn (here 'cross-subject')" in shown
    assert "GMACs" in shown
    assert "MB of weights + activations (counted by operation, float32): rgb " in answer.err
    facts = poselens(*words, "--protocol", "drawn", "--json").facts
    assert (facts["protocol"], facts["published"]["name"]) == ("cross-subject", "drawn")
    assert [cost["stream"] for cost in facts["cost"]] == ["rgb", "joint"]
    assert all(cost["milliseconds"] > 0 for cost in facts["cost"])
    bare = poselens(*words, "--protocol", "cross-subject", "--no-cost")
    assert "GMACs" not in bare.out
    assert "cost:" not in bare.err
    wrong = poselens(*words, "--protocol", "ntu60-xsub", "--json")
    assert (wrong.code, wrong.facts["error"]["code"]) == (2, "EVAL-041")


def test_evaluate_leaves_copies_out_and_says_that_it_is_a_subset(poselens, tmp_path):
    from copied_clips import copied_folder
    from drawn import SMALL_SKELETON

    folder = copied_folder(tmp_path / "data")
    settings = [word for setting in SMALL_SKELETON for word in ("--set", setting)]
    words = ["--recipe", "tiny", "--protocol", "nw-ucla", "--device", "cpu", "--out"]
    poselens("train", "skeleton", folder.root, *words, tmp_path / "run", *settings)
    judged = ["evaluate", tmp_path / "run", folder.root, "--no-cost", "--json", "--protocol"]
    whole = poselens(*judged, "nw-ucla").facts
    apart = poselens(*judged, "nw-ucla-no-copies").facts
    assert (whole["n"], apart["n"]) == (5, 3)
    assert "2 of 5 test clips are copies of training or validation clips" in apart["notes"][0]
    assert any("a subset: 5 of the 464 test clips of nw-ucla" in note for note in whole["notes"])
