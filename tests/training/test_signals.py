import os
import signal
import threading

import pytest

from poselens.training.signals import (
    StopRequest,
    leaving_at_once,
    requeue_hint,
    saving_is_no_end,
)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_remembered(number, code):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.asked()
        assert stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop.asked()
        assert stop.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_leaves_at_once():
    def press_twice():
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.asked()
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_changes_nothing():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == 143


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append(stop.asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_sigusr1_asks_to_save_once_and_not_to_stop():
    with StopRequest() as stop:
        assert not stop.asked_to_save()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (stop.asked(), stop.exit_code) == (False, 0)
        assert [stop.asked_to_save(), stop.asked_to_save()] == [True, False]


def test_what_is_held_ends_before_a_second_ctrl_c_leaves():
    done = []

    def save():
        with StopRequest() as stop, stop.held():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            done.append("saved")

    with pytest.raises(KeyboardInterrupt):
        save()
    assert done == ["saved"]


def test_a_third_ctrl_c_does_not_wait():
    done = []

    def save():
        with StopRequest() as stop, stop.held():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
            done.append("saved")

    with pytest.raises(KeyboardInterrupt):
        save()
    assert done == []


def test_while_there_is_nothing_to_save_sigterm_leaves_in_order():
    done = []

    def prepare():
        with leaving_at_once():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("went on")
            finally:
                done.append("tidied")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        prepare()
    assert (caught.value.code, done) == (143, ["tidied"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigusr1_ends_nothing_around_the_training():
    before = signal.getsignal(signal.SIGUSR1)
    with saving_is_no_end():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_hint_names_the_job_of_a_scheduler(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert requeue_hint() == "the same command with --resume goes on from here"
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    assert requeue_hint().endswith("; scontrol requeue 1234 puts the job back in the queue")
