from importlib import import_module

doctor = import_module("poselens.cli.doctor")  # the name in the package is the command's function


def test_what_this_machine_has(poselens):
    answer = poselens("doctor", "--json")
    assert answer.code == 0
    assert answer.facts["ok"] is True
    checks = {check["name"]: check for check in answer.facts["checks"]}
    assert checks.keys() == {
        *("python", "packages", "gpu", "many gpus", "video", "pose", "weights")
    }
    assert "h264" in checks["video"]["found"]
    assert "torch" in checks["packages"]["found"]
    assert not checks["weights"]["ok"]
    for name in checks:
        assert name in poselens("doctor").out


def test_weights_in_the_cache_are_seen(poselens, empty_cache):
    empty_cache.mkdir()
    (empty_cache / "resnet18-f37072fd.pth").touch()
    checks = {check["name"]: check for check in poselens("doctor", "--json").facts["checks"]}
    assert checks["weights"]["found"].startswith("cached: resnet18-imagenet;")


def test_what_is_needed_and_missing_is_exit_5(poselens, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    answer = poselens("doctor", "--json")
    assert (answer.code, answer.facts["ok"]) == (5, False)
    assert "no-such-package absent" in answer.out


def test_what_is_optional_may_be_missing(poselens, monkeypatch):
    monkeypatch.setattr(doctor.util, "find_spec", lambda _: None)
    answer = poselens("doctor", "--json")
    assert answer.code == 0
    assert "pip install 'poselens[pose]'" in answer.out
