import xml.etree.ElementTree as ElementTree

WORDS = ("--protocol", "cross-subject", "--device", "cpu")


def test_shares_are_told_as_a_table_json_and_a_picture(poselens, drawn, tmp_path):
    picture = tmp_path / "pictures" / "share.svg"
    words = ["explain", "share", drawn.joint, "--data", drawn.data, *WORDS, "--limit", 4]
    answer = poselens(*words, "--control", "--out", picture, "--json")
    assert answer.code == 0
    facts = answer.facts
    assert [entry["run"] for entry in facts["runs"]] == ["joint", "weights shuffled"]
    assert facts["figure"] == str(picture)
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    told = "".join(root.itertext())
    assert "weights shuffled" in told
    assert "4 clips" in told
    answer = poselens(*words, "--control", "--out", picture)
    assert answer.code == 0
    assert "times" in answer.out
    assert f"{100 * facts['runs'][0]['share']['mean']:.1f}" in answer.out
    assert "integrated-gradients of the clip's own class" in answer.out
    assert str(picture) in answer.err


def test_rgb_runs_have_shares_of_pixels(poselens, drawn):
    answer = poselens(
        "explain", "share", drawn.rgb, "--data", drawn.data, *WORDS, "--limit", 2, "--json"
    )
    assert answer.code == 0
    assert answer.facts["attribution"].startswith("gradcam of layer4")
    assert answer.facts["radius"] == 0.5


def test_what_cannot_be_measured_is_refused(poselens, drawn, tmp_path):
    words = ["explain", "share", drawn.joint, "--data", drawn.data, *WORDS]
    answer = poselens(*words, "--out", tmp_path / "share.png", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "CFG-011")
    answer = poselens(*words, drawn.rgb, "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "EXP-038")
    answer = poselens(*words, "--method", "gradcam", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "EXP-030")
    answer = poselens(*words, "--cluster", "camera", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "EXP-039")
