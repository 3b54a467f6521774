"""## One process per device

On the CPU or one GPU the training is called as it is; with two T4s one process each is forked, and accelerate joins
them.
"""

from collections.abc import Callable

from accelerate import notebook_launcher

from kernel_src.common.device import DeviceReport


def launch(function: Callable[..., object], device: DeviceReport, **arguments: object) -> None:
    """Call `function(device=device, **arguments)` in as many processes as there are devices; its result is dropped."""

    def work() -> None:
        function(device=device, **arguments)

    if device.count == 1:
        work()
    else:
        notebook_launcher(work, num_processes=device.count, mixed_precision="fp16" if device.half else "no")
