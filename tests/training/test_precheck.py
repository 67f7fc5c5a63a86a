import pytest
import torch

from poselens.checkpoint import read_json, write_json
from poselens.clips import assemble
from poselens.data.folder import open_folder
from poselens.errors import CheckpointError
from poselens.training.precheck import FILE, prechecked
from poselens.training.run import train


@pytest.fixture
def check(spoiled, tiny_section, tmp_path):
    """Look for videos that cannot be read in a folder with two of them; count what is read."""
    folder = open_folder(spoiled("c03", "c09"))
    section = tiny_section("rgb")

    class Counted(assemble.RgbClips):
        read = 0

        def __getitem__(self, key):
            Counted.read += 1
            return super().__getitem__(key)

    clips = Counted(folder, settings=section.input, augment=None, seed=0)

    def check(*parts):
        wanted = folder.indices("p", "+".join(parts or ("train", "val")))
        Counted.read = 0
        found = prechecked(folder, clips, wanted, tmp_path, workers=0)
        return {str(folder.ids[clip]): text for clip, text in found.items()}, Counted.read

    return check


def test_every_video_is_read_once_and_what_was_found_is_kept(check, tmp_path):
    found, read = check()
    assert (sorted(found), read) == (["c03", "c09"], 12)
    assert all(text.startswith("VID-") for text in found.values())
    assert read_json(tmp_path / FILE)["unreadable"] == found
    assert check() == (found, 0)


@pytest.mark.parametrize(
    "other", [{"data": "of another set"}, {"clips": 3}, {"unreadable": [1]}, {"unreadable": None}]
)
def test_what_was_found_about_something_else_is_found_anew(check, tmp_path, other):
    found, _ = check()
    write_json(tmp_path / FILE, {**read_json(tmp_path / FILE), **other})
    assert check() == (found, 12)


def test_a_damaged_file_is_refused(check, tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(CheckpointError) as caught:
        check()
    assert caught.value.code == "CKPT-002"


def test_a_run_goes_on_with_the_order_it_began_with(
    spoiled, tiny_section, tiny_request, tmp_path, monkeypatch
):
    """Stopped after a step, and resumed: the same bits, and no second pass."""
    root = spoiled("c03", "c09")
    section = tiny_section("rgb", precheck=True, max_bad=0.5, save_every=1)
    train(open_folder(root), section, tiny_request(root=root, out=tmp_path / "whole"))
    request = tiny_request(root=root, out=tmp_path / "run", resume=True)
    real, steps = torch.optim.SGD.step, []

    def step(self, *arguments, **options):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.SGD, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(open_folder(root), section, request)
    train(open_folder(root), section, request)
    one, other = (
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "run")
    )
    assert one == other
