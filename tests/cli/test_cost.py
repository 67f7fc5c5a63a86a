import re

import pytest


def numbers(line):
    return re.findall(r"[\d.]+", line.partition("│")[2].partition("│")[2])


def test_a_table_by_part(poselens, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    answer = poselens("cost", "--recipe", "tiny", "--layout", "coco-17", "--classes", 4)
    facts = poselens(
        "cost", "--recipe", "tiny", "--layout", "coco-17", "--classes", 4, "--json"
    ).facts
    (tiny,) = facts["recipes"]
    lines = {line.split("│")[1].strip(): line for line in answer.out.splitlines() if "│" in line}
    assert "rgb, 8 frames of 64" in lines
    assert "skeleton, 32 x 17 x 1" in lines
    for part in tiny["rgb"]["parts"]:
        row = lines.get(part["part"])
        if part["part"] != "classifier":  # both branches have one
            assert numbers(row) == [
                f"{part['gmacs']:.3f}",
                f"{part['params'] / 1e6:.3f}",
                *(
                    f"{part[kind][precision]:.1f}"
                    for kind in ("kept_mb", "peak_mb")
                    for precision in ("fp32", "bf16")
                ),
            ]
    assert numbers(lines["both"]) == [f"{tiny['gmacs']:.3f}", f"{tiny['params'] / 1e6:.3f}"]
    assert max(map(len, answer.out.splitlines())) <= 80
    for word in ("GMACs:", "kept:", "peak:"):
        assert word in answer.err
    assert set(facts["counts"]) == {"gmacs", "params", "kept_mb", "peak_mb"}
    assert "contrast head" not in answer.out


def test_recipes_side_by_side(poselens):
    answer = poselens("cost", "--recipe", "nw-ucla", "--recipe", "tiny")
    rows = [line.split("│")[1:3] for line in answer.out.splitlines() if line.startswith("│")]
    assert [tuple(cell.strip() for cell in row) for row in rows] == [
        ("nw-ucla", "skeleton"),
        ("tiny", "rgb"),
        ("tiny", "skeleton"),
        ("tiny", "both"),
    ]
    assert "nw-ucla sets nothing for rgb" in answer.err


@pytest.mark.parametrize(
    ("branch", "counted"),
    [("rgb", {"rgb"}), ("skeleton", {"skeleton"}), ("both", {"rgb", "skeleton"})],
)
def test_the_branch_that_is_asked_for(poselens, branch, counted):
    words = ["cost", "--recipe", "tiny", "--branch", branch]
    (facts,) = poselens(*words, "--json").facts["recipes"]
    assert {name for name in ("rgb", "skeleton") if facts[name] is not None} == counted
    answer = poselens(*words)
    assert ("both" in answer.out) == (len(counted) == 2)
    assert "sets nothing" not in answer.err


def test_settings_views_and_the_head_of_the_contrast(poselens):
    words = ["--set", "rgb.network.staa_blocks=all", "--set", "skeleton.contrast={}"]
    answer = poselens("cost", "--recipe", "tiny", "--views", 2, *words)
    told = " ".join(answer.out.split())
    assert "rgb.network.staa_blocks=all" in told
    assert "2 views" in told
    assert "layer4: STAA" in answer.out
    assert "(contrast head)" in answer.out
    assert "not in the sums" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--set", "network.width=1"], "CFG-001", "unknown key 'network'"),
        (["--set", "rgb.network.width"], "CFG-006", "expects key=value"),
        (["--branch", "pose"], "CFG-011", "'pose' is not one of"),
        (["--views", "0"], "CFG-011", "--views"),
    ],
)
def test_what_cannot_be_counted(poselens, words, code, text):
    answer = poselens("cost", "--recipe", "tiny", *words)
    assert answer.code == 2
    assert answer.err.startswith(f"error[{code}]")
    assert text in answer.err
