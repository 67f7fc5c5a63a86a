import os
import signal
import threading

import pytest

from poselens.training.signals import StopRequest


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
