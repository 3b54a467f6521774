"""A process that is killed while it draws its bar does not stop the bars of the others."""

import multiprocessing
import os
import signal
import threading

from tqdm.auto import tqdm

from kernel_src.runtime.bars import own_bars
from kernel_src.runtime.device import DeviceReport
from kernel_src.training.launch import launch

WAIT_S = 20


def drawn() -> bool:
    """Whether a bar can be drawn here."""
    thread = threading.Thread(target=lambda: tqdm(total=1, disable=False, file=open(os.devnull, "w")).close())
    thread.daemon = True
    thread.start()
    thread.join(WAIT_S)
    return not thread.is_alive()


def killed_in_its_bar() -> None:
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_forked_process_with_bars_of_its_own_takes_no_lock_of_its_parent() -> None:
    assert drawn()  # from here on there is a lock to share

    def work() -> None:
        own_bars()
        killed_in_its_bar()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(WAIT_S)
    assert process.exitcode == -signal.SIGKILL and drawn()


def test_a_fold_whose_process_was_killed_in_its_bar_is_tried_again_and_the_notebook_goes_on() -> None:
    assert drawn()
    tries = multiprocessing.get_context("fork").Value("i", 0)

    def train(device: DeviceReport, folds: tuple[int, ...]) -> None:
        with tries.get_lock():
            tries.value += 1
            first = tries.value == 1
        if first:
            killed_in_its_bar()
        assert drawn()

    pair = DeviceReport(kind="cpu", name="CPU", count=2, half=False)
    launch(train, pair, spread="folds", folds=(0, 1))
    assert tries.value == 3 and drawn()
