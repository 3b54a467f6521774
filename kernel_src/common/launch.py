"""## One process per device

On the CPU or one GPU the training is called as it is. Two T4s get a process each, and share the work in one of two
ways: every batch is cut between them (`batch`: accelerate joins the processes after each step), or each trains folds of
its own (`folds`: nothing to wait for, and the very weights that one device would give).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context

import torch
from accelerate import debug_launcher, notebook_launcher

from kernel_src.common.device import DeviceReport
from kernel_src.common.experiment import Experiment


def chosen_spread(experiment: Experiment, folds: int, devices: int) -> str:
    """Decide between "batch" and "folds" where the experiment says "auto".

    Folds side by side wherever every device gets at least one: bench/two_processes.py measures how much faster.
    """
    if experiment.spread != "auto":
        return experiment.spread
    return "folds" if folds >= devices > 1 else "batch"


def launch(
    function: Callable[..., object], device: DeviceReport, *, spread: str, folds: Sequence[int], **arguments: object
) -> None:
    """Call `function(device=…, folds=…, **arguments)` in as many processes as there are devices; results are dropped.

    Raises:
        RuntimeError: a process ended with an error, which it has printed.
    """
    if device.count == 1:
        function(device=device, folds=folds, **arguments)
    elif spread == "folds":
        _launch_folds(function, device, folds, arguments)
    else:

        def work() -> None:
            torch.set_num_threads(max(1, torch.get_num_threads() // device.count))
            function(device=device, folds=folds, **arguments)

        if device.kind == "cpu":
            debug_launcher(work, num_processes=device.count)
        else:
            notebook_launcher(work, num_processes=device.count, mixed_precision="fp16" if device.half else "no")


def _launch_folds(
    function: Callable[..., object], device: DeviceReport, folds: Sequence[int], arguments: dict[str, object]
) -> None:
    own = replace(device, count=1)

    def work(index: int) -> None:
        if device.kind == "cuda":
            torch.cuda.set_device(index)  # what "cuda" means in this process
        torch.set_num_threads(max(1, torch.get_num_threads() // device.count))
        function(device=own, folds=folds[index :: device.count], **arguments)

    context = get_context("fork")
    processes = [context.Process(target=work, args=(index,)) for index in range(min(device.count, len(folds)))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if failed := [str(index) for index, process in enumerate(processes) if process.exitcode]:
        raise RuntimeError(f"the training on device {', '.join(failed)} failed, see above; finished folds are kept")
