"""The engine hands out chunks and gives back every outcome; Ray itself is played."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from poselens.data.children import Limits
from poselens.errors import EnvironmentFault, VideoError
from poselens.recipes import ray_engine
from poselens.recipes.ray_engine import CHUNK, in_ray


def as_path(item):
    return Path(str(item))


def triple(number):
    if number == 7:
        raise VideoError("VID-002", "the file is empty")
    return 3 * number


class Played:
    """What is used of Ray, in this process."""

    exceptions = SimpleNamespace(WorkerCrashedError=type("WorkerCrashedError", (Exception,), {}))

    def __init__(self, lost=False):
        self.lost, self.sizes, self.up, self.options = lost, [], False, None

    def is_initialized(self):
        return self.up

    def init(self, **options):
        self.up, self.options = True, options

    def shutdown(self):
        self.up = False

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, **_options):
        def decorate(function):
            def remote(work, chunk, *rest):
                self.sizes.append(len(chunk))
                return (function, work, chunk, *rest)

            return SimpleNamespace(remote=remote)

        return decorate

    def wait(self, running, num_returns):
        assert num_returns == 1
        return running[-1:], running[:-1]

    def get(self, task):
        if self.lost:
            raise self.exceptions.WorkerCrashedError
        function, *given = task
        return function(*given)


@pytest.fixture
def here(monkeypatch):
    """Chunks are done without children."""

    def children(work, items, **_):
        for item in items:
            try:
                yield item, work(item)
            except VideoError as fault:
                yield item, fault

    monkeypatch.setattr(ray_engine, "in_children", children)


def test_every_item_has_its_outcome(here, monkeypatch):
    played = Played()
    monkeypatch.setitem(sys.modules, "ray", played)
    found = dict(in_ray(triple, range(50), file_of=as_path, workers=3, limits=Limits()))
    assert {item: found[item] for item in range(50) if item != 7} == {
        item: 3 * item for item in range(50) if item != 7
    }
    assert found[7].code == "VID-002"
    assert played.sizes == [CHUNK, CHUNK, CHUNK, 2]
    assert played.options["num_cpus"] == 3
    assert not played.up


def test_a_cluster_that_is_up_stays_up(here, monkeypatch):
    played = Played()
    played.up = True
    monkeypatch.setitem(sys.modules, "ray", played)
    assert list(in_ray(triple, [], file_of=as_path, workers=None, limits=Limits())) == []
    assert played.up
    assert played.options is None


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentFault, match="--engine ray needs the package ray") as caught:
        next(in_ray(triple, [1], file_of=as_path, workers=1, limits=Limits()))
    assert (caught.value.code, caught.value.mend) == ("ENV-005", "pip install 'poselens[ray]'")


def test_machines_lost_again_and_again(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", Played(lost=True))
    with pytest.raises(EnvironmentFault, match="Ray lost the worker of a task 4 times") as caught:
        list(in_ray(triple, [1], file_of=as_path, workers=1, limits=Limits()))
    assert caught.value.code == "POSE-016"
