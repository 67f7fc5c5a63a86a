import os
import signal

import pytest
import torch
from saves import POSITIONS, prepared, restored, save, states, trained
from tiny_loop import batches, equal, run, scores, weights

from poselens.checkpoint import read_facts, read_tensors_and_facts, write_tensors
from poselens.errors import CheckpointError, EnvironmentFault
from poselens.training import states as module
from poselens.training.state import Progress
from poselens.training.states import Saving, newest_facts, state_file, state_files


def positions(folder):
    return [path.stem for path in state_files(folder)]


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[: len(content) // 2]
    elif kind == "empty":
        content = bytearray()
    elif kind == "tensor":
        content[-3] ^= 16
    elif kind == "facts":
        # a digit of the position: valid JSON, and another place
        place = content.index(b'\\"step\\": ') + len(b'\\"step\\": ')
        content[place] = ord("9")
    path.write_bytes(content)


def forged(path, change):
    """Write a state whose checksums fit and whose content does not."""
    tensors, facts = read_tensors_and_facts(path)
    change(tensors, facts)
    write_tensors(path, tensors, facts=facts)


def test_the_newest_states_are_kept(tmp_path):
    run(tmp_path, epochs=3)
    assert positions(tmp_path) == ["000003-00000000", "000002-00000000"]
    run(tmp_path / "more", epochs=3, saving=Saving(keep=4))
    assert len(positions(tmp_path / "more")) == 4


def test_a_state_is_saved_before_the_first_step(tmp_path):
    def given(_progress):
        assert positions(tmp_path) == ["000000-00000000"]
        raise EnvironmentFault("ENV-003", "stops here")

    with pytest.raises(EnvironmentFault, match="stops here"):
        run(tmp_path, given=given)


@pytest.mark.parametrize("saving", [Saving(every=3), Saving(minutes=1e-9)])
def test_saves_within_an_epoch_change_nothing(tmp_path, saving):
    undisturbed, _ = run(tmp_path / "whole")
    seen = []

    def given(progress):
        for each in batches(progress):
            seen.append(positions(tmp_path / "run"))
            yield each

    model, _ = run(tmp_path / "run", given=given, saving=saving)
    assert equal(weights(model), weights(undisturbed))
    steps = {stem for stems in seen for stem in stems if not stem.endswith("-00000000")}
    wanted = {1, 2, 3, 4} if saving.every is None else {3}
    assert {int(stem[-1]) for stem in steps} <= wanted
    assert len(steps) >= 2


def test_sigusr1_saves_and_goes_on_to_the_same_end(tmp_path, capsys):
    undisturbed, _ = run(tmp_path / "whole")

    def given(progress):
        for position, each in enumerate(batches(progress), progress.step):
            if (progress.epoch, position) == (1, 1):
                os.kill(os.getpid(), signal.SIGUSR1)
            yield each
            if (progress.epoch, position) == (1, 2):
                # the signal came while the step before was under way
                assert positions(tmp_path / "run")[0] == "000001-00000001"

    model, outcome = run(tmp_path / "run", given=given)
    assert outcome.exit_code == 0
    assert equal(weights(model), weights(undisturbed))
    told = capsys.readouterr().err
    assert "saved at epoch 2, step 1, training goes on" in told
    assert "the same command with --resume goes on from here" in told


def test_sigusr1_is_heard_within_validation_and_saves_once(tmp_path):
    saved = []

    def validate(_network, progress, stopped):
        if progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not stopped()
            path = state_file(tmp_path, Progress(1, 4))
            saved.append(path.stat().st_mtime_ns)
            assert not stopped()
            saved.append(path.stat().st_mtime_ns)
        return scores(5)

    _, outcome = run(tmp_path, validate=validate, saving=Saving(every=1))
    assert outcome.exit_code == 0
    assert len(set(saved)) == 1


@pytest.mark.parametrize("kind", ["cut", "empty", "tensor", "facts"])
def test_a_damaged_state_is_set_aside_and_the_one_before_is_used(tmp_path, kind):
    folder = prepared(tmp_path / "run")
    newest, older = state_files(folder)
    damage(newest, kind)
    model, optimizer = trained(0)
    progress, _, told = states(folder, model, optimizer).restore(steps=4)
    assert progress == POSITIONS[0]
    assert told[0].startswith("000000-00000002.safetensors is set aside: damaged")
    assert told[1] == "going on from 000000-00000000.safetensors: 2 steps are lost"
    assert state_files(folder) == [older]
    assert newest.with_name(f"{newest.name}.broken").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _, facts: facts.pop("progress"), "its facts are incomplete"),
        (lambda _, facts: facts["progress"].update(step=-1), "its facts are incomplete"),
        (lambda _, facts: facts["progress"].update(epoch="2"), "its facts are incomplete"),
        (lambda _, facts: facts["progress"].update(where=3), "unknown: where"),
        (lambda _, facts: facts.update(settings=7), "its facts are incomplete"),
        (lambda t, _: t.update({"optimizer.99.momentum_buffer": torch.ones(1)}), "no parameter"),
        (lambda t, _: t.update({"optimizer.0.momentum_buffer": torch.ones(9)}), r"is \(9,\) for"),
    ],
)
def test_a_state_that_contradicts_itself_is_set_aside_too(tmp_path, change, told):
    folder = prepared(tmp_path / "run")
    forged(state_files(folder)[0], change)
    model, optimizer = trained(0)
    progress, _, notes = states(folder, model, optimizer).restore(steps=4)
    assert progress == POSITIONS[0]
    assert "the state contradicts itself" in notes[0]
    with pytest.raises(CheckpointError, match=told) as caught:
        module.load_state(
            folder / "states" / "000000-00000002.safetensors.broken",
            modules={"network": model},
            optimizer=optimizer,
            fingerprint="f",
        )
    assert caught.value.code == "CKPT-023"


def test_without_a_whole_state_all_are_named(tmp_path):
    folder = prepared(tmp_path / "run")
    for path in state_files(folder):
        damage(path, "cut")
    told = "none of the 2 states of this run can be read .*000000-00000002.*; 000000-00000000"
    for call in (lambda: restored(folder), lambda: newest_facts(folder)):
        with pytest.raises(CheckpointError, match=told) as caught:
            call()
        assert caught.value.code == "CKPT-020"
    assert len(state_files(folder)) == 2


def test_a_state_of_a_later_version_is_refused_and_not_passed_over(tmp_path):
    folder = prepared(tmp_path / "run")
    newest = state_files(folder)[0]

    def later(_tensors, facts):
        facts |= {"format": 3, "made_with": {"poselens": "9.1"}}

    forged(newest, later)
    told = "state format 3 by poselens 9.1, this is 2"
    for call in (lambda: restored(folder), lambda: newest_facts(folder)):
        with pytest.raises(CheckpointError, match=told) as caught:
            call()
        assert caught.value.code == "CKPT-010"
    assert newest.exists()


def test_generators_that_do_not_fit_are_told_and_no_reason_to_stop(tmp_path):
    folder = prepared(tmp_path / "run")

    def another_torch(tensors, facts):
        tensors["generator.cpu"] = torch.zeros(17, dtype=torch.uint8)
        tensors["generator.cuda"] = torch.zeros(16, dtype=torch.uint8)
        facts["made_with"]["torch"] = "1.0"

    forged(state_files(folder)[0], another_torch)
    model, optimizer = trained(0)
    progress, _, told = states(folder, model, optimizer).restore(steps=4)
    assert progress == POSITIONS[1]
    assert any("the cpu generator begins anew" in text for text in told)
    assert any("torch 1.0 -> " in text for text in told)
    if not torch.cuda.is_available():
        assert any(text.startswith("saved beside a GPU") for text in told)


def test_a_disk_without_room_is_found_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1234}))
    with pytest.raises(EnvironmentFault, match=r"1,234 bytes free and [\d,]+ are needed") as caught:
        run(tmp_path, given=lambda _: pytest.fail("trained"))
    assert (caught.value.code, caught.value.exit_code) == ("ENV-002", 5)
    assert not state_files(tmp_path)


def test_what_is_needed_is_what_will_be_written(tmp_path, monkeypatch):
    """Within a tenth: generators and facts are not counted."""
    asked = []
    monkeypatch.setattr(module, "require_space", lambda _, needed: asked.append(needed))
    model = torch.nn.Linear(400, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 400)).sum().backward()
    optimizer.step()
    one = states(tmp_path, model, optimizer)
    one.require_space()
    best = {name: value.clone() for name, value in model.state_dict().items()}
    size = one.save(Progress(), best).stat().st_size
    assert asked[0] == pytest.approx(3 * size, rel=0.1)
    one.require_space()
    assert asked[1] == asked[0] - size


def test_files_that_are_no_states_are_left_alone(tmp_path):
    folder = prepared(tmp_path / "run")
    for name in ("mine.safetensors", "a-b.safetensors", "000009-00000001.safetensors.broken"):
        (folder / "states" / name).write_bytes(b"x")
    assert len(state_files(folder)) == 2
    save(folder, 2)
    assert len(list((folder / "states").iterdir())) == 5
    assert read_facts(state_files(folder)[0])["progress"]["epoch"] == 1
