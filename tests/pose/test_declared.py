"""A layout of a user's own is read, or refused with a sentence that says why."""

import copy

import pytest
import yaml
from mutate import survive

from poselens.errors import SkeletonError, UsageError
from poselens.pose import layouts
from poselens.pose.declared import declaration, find_layout, layout_from, read_layout_file
from poselens.pose.layouts import (
    LAYOUTS,
    declare_layout,
    get_layout,
    known_layouts,
    require_joint_count,
)

DOG = {
    "joints": ["nose", "withers", "hip", "paw_l", "paw_r", "tail"],
    "parents": {
        "nose": "withers", "hip": "withers", "tail": "hip", "paw_l": "withers", "paw_r": "withers",
    },
    "mirror": [["paw_l", "paw_r"]],
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch):
    monkeypatch.setattr(layouts, "_declared", {})


def changed(**changes):
    content = copy.deepcopy(DOG) | changes
    return {key: value for key, value in content.items() if value is not ...}


def bones(*pairs, centre="withers", **changes):
    return changed(parents=..., bones=[list(pair) for pair in pairs], centre=centre, **changes)


def test_a_dog_with_parents():
    dog = layout_from("dog", DOG)
    assert dog.joints[dog.centre] == "withers"
    assert dog.parents == (1, 1, 1, 1, 1, 2)
    assert dog.mirror == (0, 1, 2, 4, 3, 5)
    assert dog.sides == ("middle", "middle", "middle", "left", "right", "middle")


def test_the_same_dog_with_bones_in_any_order_and_direction():
    content = bones(
        ("tail", "hip"), ("withers", "hip"), ("paw_r", "withers"), ("withers", "paw_l"),
        ("nose", "withers"),
    )  # fmt: skip
    assert layout_from("dog", content) == layout_from("dog", DOG)


def test_names_with_sides_need_no_mirror_and_the_centre_may_name_itself():
    content = {
        "joints": ["left_hand", "neck", "right_hand"],
        "parents": {"left_hand": "neck", "right_hand": "neck", "neck": "neck"},
        "centre": "neck",
    }
    bust = layout_from("bust", content)
    assert bust.mirror == (2, 1, 0)
    assert bust.sides == ("left", "middle", "right")
    content["parents"]["neck"] = None
    assert layout_from("bust", content) == bust


def test_no_sides_at_all_have_to_be_said():
    assert layout_from("dog", changed(mirror=[])).mirror == tuple(range(6))


HAND_AND_HEAD = {"joints": ["left_hand", "head"], "parents": {"left_hand": "head"}}


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, "CFG-040", "expected keys and values"),
        (changed(joint=[]), "CFG-040", "unknown key 'joint'; did you mean 'joints'"),
        (changed(joints=...), "CFG-040", "joints: .*expected a list of joint names"),
        (changed(joints=[1, 2]), "CFG-040", 'quote them, as in "1"'),
        (changed(parents=...), "CFG-040", "neither parents nor bones"),
        (changed(bones=[]), "CFG-040", "both parents and bones"),
        (changed(parents=["nose"]), "CFG-040", "parents: .*expected joint: parent"),
        (bones(("nose",)), "CFG-040", "bones: .*expected a list of pairs of joint names"),
        (changed(mirror=[["paw_l", 3]]), "CFG-040", "mirror: .*expected a list of pairs"),
        (changed(mirror="paws"), "CFG-040", "mirror: .*expected a list of pairs"),
        (changed(joints=[]), "CFG-041", "found 0 joints, expected 2 to 256"),
        (changed(joints=["nose"]), "CFG-041", "found 1 joints, expected 2 to 256"),
        (changed(joints=[f"j{n}" for n in range(257)]), "CFG-041", "found 257 joints"),
        (changed(joints=["nose", "nose"]), "CFG-041", "joint 'nose' is there 2 times"),
        (changed(joints=["nose", " "]), "CFG-041", "joint name ' ' is empty"),
        (changed(joints=["nose", "a\nb"]), "CFG-041", "joint name 'a.*b' is empty, too long"),
        (changed(joints=["nose", "j" * 81]), "CFG-041", "'j+' is empty, too long"),
        (changed(centre=["withers"]), "CFG-042", r"unknown joint \(of type list\)"),
        (
            changed(parents=DOG["parents"] | {"tail": 7}),
            "CFG-042", r"unknown parent \(of type int\) of 'tail'",
        ),
        (changed(centre="wither"), "CFG-042", "unknown joint 'wither'; did you mean 'withers'"),
        (
            changed(parents=DOG["parents"] | {"nosr": "hip"}),
            "CFG-042", "unknown joint 'nosr'; did you mean 'nose'",
        ),
        (
            changed(parents=DOG["parents"] | {"tail": "hips"}),
            "CFG-042", "unknown parent 'hips' of 'tail'; did you mean 'hip'",
        ),
        (
            changed(parents=DOG["parents"] | {"hip": "tail"}),
            "CFG-042", "the parents go in a circle: hip < tail < hip",
        ),
        (
            changed(parents=DOG["parents"] | {"withers": "nose"}),
            "CFG-042", "the parents go in a circle: nose < withers < nose",
        ),
        (
            changed(parents={"nose": "withers", "tail": "hip"}),
            "CFG-042", "4 joints have no parent: withers, hip, paw_l, paw_r",
        ),
        (changed(centre="hip"), "CFG-042", "the centre is 'hip', but the joint without a parent"),
        (bones(("nose", "withers"), centre=None), "CFG-042", "bones without a centre"),
        (bones(("nose", "wither")), "CFG-042", "unknown joint 'wither'"),
        (bones(("nose", "nose")), "CFG-042", "the bone nose - nose closes a circle"),
        (
            bones(("nose", "withers"), ("withers", "hip"), ("nose", "hip")),
            "CFG-042", "the bone nose - hip closes a circle",
        ),
        (
            bones(("nose", "withers"), ("tail", "hip")),
            "CFG-042", "no bones connect hip, paw_l, paw_r, tail with the centre 'withers'",
        ),
        (HAND_AND_HEAD, "CFG-043", "joint 'left_hand' has no 'right_hand' on the other side"),
        (changed(mirror=...), "CFG-043", "no joint's name starts with left or right"),
        (changed(mirror=[["paw_l", "paw_x"]]), "CFG-043", "unknown joint 'paw_x'"),
        (
            changed(mirror=[["paw_l", "paw_r"], ["paw_r", "tail"]]),
            "CFG-043", "joint 'paw_r' is in the mirror's pairs 2 times",
        ),
        (changed(mirror=[["nose", "nose"]]), "CFG-043", "'nose' is in the mirror's pairs 2 times"),
        (
            changed(mirror=[["paw_l", "tail"]]),
            "CFG-043", "turns the bone paw_l - withers into tail - withers, which is no bone",
        ),
    ],
)  # fmt: skip
def test_each_fault_has_its_sentence(content, code, message):
    with pytest.raises(UsageError, match=message) as caught:
        layout_from("dog", content)
    assert caught.value.code == code
    assert "layout 'dog'" in caught.value.message


@pytest.mark.parametrize("name", ["", "my dog", "dog.yaml", "-dog", "d" * 65, "../dog"])
def test_a_name_has_to_be_one(name):
    with pytest.raises(UsageError, match="not a name for a layout") as caught:
        layout_from(name, DOG)
    assert caught.value.code == "CFG-040"


def test_what_is_declared_is_known():
    dog = layout_from("dog", DOG)
    with pytest.raises(UsageError, match="unknown joint layout 'dog'"):
        get_layout("dog")
    declare_layout(dog)
    declare_layout(layout_from("dog", DOG))
    assert get_layout("dog") == dog
    assert list(known_layouts()) == [*LAYOUTS, "dog"]
    with pytest.raises(UsageError, match="did you mean 'dog'"):
        get_layout("dgo")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"joints": ["nose", "withers", "tail", "paw_l", "paw_r", "hip"]}, "joints"),
        ({"parents": DOG["parents"] | {"tail": "withers"}}, "parents"),
        ({"mirror": []}, "sides"),
        ({"mirror": [["paw_r", "paw_l"]]}, "sides"),
    ],
)
def test_one_name_stands_for_one_layout(change, what):
    declare_layout(layout_from("dog", DOG))
    with pytest.raises(UsageError, match=f"'dog' is declared in two ways: the {what} differ") as no:
        declare_layout(layout_from("dog", changed(**change)))
    assert no.value.code == "CFG-044"
    assert get_layout("dog") == layout_from("dog", DOG)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_built_in_layout_stays_what_it_is(name):
    with pytest.raises(UsageError, match=f"'{name}' is built in") as caught:
        declare_layout(layout_from(name, DOG))
    assert caught.value.code == "CFG-044"


def test_a_count_names_declared_layouts_too():
    declare_layout(layout_from("dog", DOG))
    with pytest.raises(SkeletonError, match="these joints fit dog"):
        require_joint_count(6, get_layout("coco-17"))


def test_a_declaration_is_kept_whole():
    declare_layout(layout_from("dog", DOG))
    again = declaration("dog")
    assert yaml.safe_load(yaml.safe_dump(again)) == again
    assert layout_from("dog", again) == get_layout("dog")
    assert declaration("coco-17") is None
    for name, layout in LAYOUTS.items():
        sided = layouts.Layout("sided-" + name, layout.joints, layout.parents)
        declare_layout(sided)
        assert "mirror" not in declaration(sided.name)
        assert layout_from(sided.name, declaration(sided.name)) == sided


def test_a_file_is_found_by_its_path_and_called_by_its_name(tmp_path):
    (tmp_path / "my-dog.yaml").write_text(yaml.safe_dump(DOG))
    assert find_layout(str(tmp_path / "my-dog.yaml")) == get_layout("my-dog")
    assert find_layout("my-dog") == get_layout("my-dog")
    (tmp_path / "other.yml").write_text(yaml.safe_dump({"name": "hound", **DOG}))
    assert find_layout(str(tmp_path / "other.yml")).name == "hound"
    assert find_layout("coco-17") is LAYOUTS["coco-17"]
    (tmp_path / "my-dog.yaml").write_text(yaml.safe_dump(changed(mirror=[])))
    with pytest.raises(UsageError, match="declared in two ways"):
        find_layout(str(tmp_path / "my-dog.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the layout file is missing"),
        (b"joints: [a\nparents: b: c", "line 2.*not valid YAML"),
        (b"\xff\xfe\x00", "not a readable YAML file"),
        (b"joints: !!python/object/apply:os.system [ls]", "not valid YAML"),
        (b"# " + b"x" * 1024 * 1024, "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, message):
    file = tmp_path / "dog.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_layout_file(file)
    assert caught.value.code == "CFG-046"
    assert caught.value.file == str(file)


def test_damaged_files(tmp_path):
    def sound(layout):
        assert len(layout.parents) == len(layout.mirror) == len(layout.joints)
        assert [layout.mirror[joint] for joint in layout.mirror] == list(range(len(layout)))

    dog = yaml.safe_dump(DOG).encode()
    skater = yaml.safe_dump({"name": "skater", **skating()}).encode()
    tally = survive(read_layout_file, [dog, skater], tmp_path / "x.yaml", text=True, sound=sound)
    assert tally.refused
    assert tally.accepted


def skating():
    layout = LAYOUTS["openpose-25"]
    bones = [[layout.joints[one], layout.joints[other]] for one, other in layout.edges]
    return {"joints": list(layout.joints), "bones": bones, "centre": layout.joints[layout.centre]}


def test_aliases_of_aliases_are_not_written_out(tmp_path):
    parts = ["&a0 [x, x, x, x, x, x, x, x, x]"]
    parts += [f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = f"[{', '.join(parts)}]"
    tree = "parents: {tail: nose}"
    for keys, told in (
        (f"{tree}, centre: {bomb}", "unknown joint"),
        (f"parents: {{tail: {bomb}}}", "unknown parent"),
        (f"bones: {bomb}, centre: nose", "expected a list of pairs"),
        (f"{tree}, mirror: {bomb}", "expected a list of pairs"),
        (f"{tree}, name: {bomb}", "not a name"),
    ):
        file = tmp_path / "dog.yaml"
        file.write_text("{" + f"joints: [nose, tail], {keys}" + "}")
        with pytest.raises(UsageError, match=told) as caught:
            read_layout_file(file)
        assert len(str(caught.value)) < 1000


def test_a_fault_in_a_file_names_file_and_key(tmp_path):
    file = tmp_path / "dog.yaml"
    file.write_text("- nose\n")
    with pytest.raises(UsageError, match="expected keys and values") as caught:
        read_layout_file(file)
    file.write_text("joints: [a, b]\nparents: {a: c}\n")
    with pytest.raises(UsageError, match="unknown parent 'c'") as caught:
        read_layout_file(file)
    assert (caught.value.file, caught.value.where) == (str(file), "parents")
    file.chmod(0)
    try:
        file.read_bytes()
    except PermissionError:
        with pytest.raises(UsageError, match="cannot read the layout file: Permission denied"):
            read_layout_file(file)
