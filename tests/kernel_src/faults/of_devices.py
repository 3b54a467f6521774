"""Faults of the memory and of the devices."""

from tests.kernel_src.faults import odd_photographs as odd
from tests.kernel_src.faults.case import MEAN, SOME, Case, Told
from tests.kernel_src.faults.planted_code import TWO_DEVICES, WHITE, before_grams, before_moving, mark, once
from tests.kernel_src.faults.planting import ALONE, IDS, Plant

CROWDED = "raise torch.OutOfMemoryError('CUDA out of memory')"
KILL = "os.kill(os.getpid(), 9)"


def _killing(name: str) -> str:
    return f"crashed the worker of {name} twice"


FAILS_TO_START = """
healthy = DeviceWorker.__init__
def planted(self, pipe, config):
    if config.index == 1:
        raise RuntimeError("CUDA error: device-side assert triggered")
    healthy(self, pipe, config)
DeviceWorker.__init__ = planted
"""
# The worker of the second device is told by its index; the first waits until it has died once, or would do all alone.
DIES_MIDWAY = f"""
start, healthy, passes = DeviceWorker.__init__, BatchWork.values, []
def planted_start(self, pipe, config):
    start(self, pipe, config)
    passes.append(config.index)
def planted(self, number, model, view):
    passes.append(0)
    while passes[0] == 0 and not {mark("died")}.exists():
        time.sleep(0.05)
    if passes[0] == 1 and len(passes) > 6:
        {mark("died")}.touch()
        os.kill(os.getpid(), 9)
    return healthy(self, number, model, view)
DeviceWorker.__init__, BatchWork.values = planted_start, planted
"""
HANGS_LOADING = f"""
LOADING_S = 5.0
def planted(self, *some, healthy=DeviceWorker._load):
    if not {mark("hung")}.exists():
        {mark("hung")}.touch()
        time.sleep(600)
    return healthy(self, *some)
DeviceWorker._load = planted
"""
HANGS = "SILENCE_S = 1.0\n" + once("time.sleep(600)", "len(self.pictures[0]) > 2")
# As a process is that waits for ever in the driver.
CANNOT_BE_KILLED = "ENDING_S = 0.5\nget_context('fork').Process.kill = lambda self: None\n"
# Two GPUs, one of which multiplies wrongly; the other is played by the CPU.
ONE_GPU_OF_TWO = """
os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # of the tests, which hide real ones
count_gpus = lambda: 2
probe_gpu = lambda index: Gpu("Tesla T4", f"GPU {index}: Tesla T4 multiplies wrongly" if index == 0 else "")
def check_device(healthy=check_device):
    return replace(healthy(), kind="cpu", half=False)
"""
# In its second task: the first has two photographs, and a batch of two would then be halved for good.
KILLED_ONCE = before_grams(
    f"if (model, view) == (1, 2) and not {mark('once')}.exists():\n"
    f"    if {mark('first')}.exists():\n        {mark('once')}.touch()\n        {KILL}\n    {mark('first')}.touch()"
)
AGAIN = "its photographs are tried again on CPU"
# A device that is fast in fp16, played by the CPU, and folds that fp16 is too small for.
IN_HALF = 'check_device = lambda: DeviceReport(kind="cpu", name="CPU", count=1, half=True)\n'
OVERFLOWS = """
def planted(self, pictures, *some, healthy=BackboneNet.forward, **more):
    z = healthy(self, pictures, *some, **more)
    return z * float("inf") if torch.is_autocast_enabled("cpu") else z
BackboneNet.forward = planted
"""
SPELLINGS = {
    "CUDA error: out of memory": "RuntimeError('CUDA error: out of memory')",
    "CUBLAS_STATUS_ALLOC_FAILED": "RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate')",
    "CUDNN_STATUS_ALLOC_FAILED": "RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')",
    "MemoryError": "MemoryError()",
}
DEVICES = {"one device": "", "two devices": TWO_DEVICES}
DEADLY_TO_LOAD = f"""
def planted(recipe, known, folds, healthy=load_recipe):
    if 1 in folds:
        {KILL}
    return healthy(recipe, known, folds=folds)
load_recipe = planted
"""


def spelt() -> list[Case]:
    """Every spelling of too little memory, in a step and while a fold is loaded, on one device and on two."""
    cases = []
    anew = "it is loaded anew whenever it is needed"
    for how, error in SPELLINGS.items():
        for where, also in DEVICES.items():
            cell = also + before_grams(f"if len(self.pictures[0]) > 1:\n    raise {error}")
            cases.append(
                Case(
                    fault=f"{how} above one photograph, {where}",
                    kind="memory",
                    plant=Plant(cell=cell),
                    strict="",
                    strict_note="the memory is too small for 2 photographs at once",
                    rerun=(Told(part="memory", what="the memory is too small for", fallback="1 at once from now on"),),
                )
            )
            cases.append(
                Case(
                    fault=f"{how} while the second fold is loaded, {where}",
                    kind="memory",
                    plant=Plant(cell=also + before_moving(f"if len(nets) > 1:\n    raise {error}")),
                    strict="",
                    strict_note=f"{ALONE}, fold 1 finds no room beside the others",
                    rerun=(Told(part="memory", what="finds no room beside the others", fallback=anew),),
                )
            )
    return cases


def crashes() -> list[Case]:
    """A worker that ends wherever it has more than one photograph, or at a fold's loading."""
    cases = []
    for where, also in DEVICES.items():
        for how, crash in (("SIGKILL", KILL), ("a CUDA error", "raise RuntimeError('CUDA error: illegal access')")):
            cell = also + before_grams(f"if len(self.pictures[0]) > 1:\n    {crash}")
            what = "killed by SIGKILL" if crash == KILL else "ended with exit code 1: RuntimeError: CUDA error"
            cases.append(
                Case(
                    fault=f"{how} above one photograph, {where}",
                    kind="device",
                    plant=Plant(cell=cell),
                    strict=what,
                    rerun=(Told(part="device", what=what, fallback=", 1 at once", ids=SOME),),
                )
            )
        what = f"killed by SIGKILL while {ALONE}, fold 1 was loaded"
        cases.append(
            Case(
                fault=f"a fold whose loading kills its worker, {where}",
                kind="device",
                plant=Plant(cell=also + DEADLY_TO_LOAD),
                strict=what,
                rerun=(
                    Told(part="device", what=what, fallback="its photographs are tried again on CPU", ids=SOME),
                    Told(part="fold", what=f"{ALONE}, fold 1: CPU fails whenever", fallback="the other folds"),
                ),
                by="fold 0",
            )
        )
    return cases


def devices() -> list[Case]:
    return [*_devices(), *spelt(), *crashes()]


def _devices() -> list[Case]:
    first = IDS[0]
    crowded_if_white = before_grams(f"if {WHITE}:\n    {CROWDED}")
    return [
        Case(
            fault="memory too small for a batch",
            kind="memory",
            plant=Plant(cell=before_grams(f"if len(self.pictures[0]) > 3:\n    {CROWDED}")),
            strict="",
            strict_note="the memory is too small for 4 photographs at once",
            rerun=(Told(part="memory", what="too small for 4 photographs at once", fallback="2 at once from now on"),),
        ),
        Case(
            fault="memory too small for one photograph",
            kind="memory",
            plant=Plant(photographs={first: odd.white}, cell=crowded_if_white),
            strict="OutOfMemoryError: CUDA out of memory",
            rerun=(
                Told(part="memory", what="too small for 2 photographs at once", fallback="1 at once from now on"),
                Told(part="device", what="OutOfMemoryError", fallback=AGAIN, ids=IDS[:2]),
                Told(
                    part="photograph", what=_killing("CPU"), fallback=f"what is there of it, else {MEAN}", ids=(first,)
                ),
            ),
            mean=(first,),
        ),
        Case(
            fault="every fold overflows in fp16",
            kind="device",
            plant=Plant(cell=IN_HALF + OVERFLOWS),
            strict="",
            strict_note="fold 1: fp32 in place of fp16: compared with fp32, fp16 gives numbers that are not finite",
            rerun=(),
        ),
        Case(
            fault="a worker killed once",
            kind="device",
            plant=Plant(cell=KILLED_ONCE),
            strict="the worker of CPU killed by SIGKILL",
            rerun=(Told(part="device", what="killed by SIGKILL", fallback=AGAIN, ids=IDS[2:6]),),
        ),
        Case(
            fault="a fold that crashes its workers",
            kind="device",
            plant=Plant(cell=before_grams(f"if model == 0:\n    {KILL}")),
            strict="the worker of CPU killed by SIGKILL",
            rerun=(
                Told(part="device", what="killed by SIGKILL", fallback=AGAIN, ids=SOME),
                Told(part="photograph", what=_killing("CPU"), fallback="what is there of it", ids=IDS[:1]),
                Told(part="fold", what=f"{ALONE}, fold 0: its workers crash", fallback="the other folds"),
            ),
            by="fold 1",
        ),
        Case(
            fault="a worker that hangs",
            kind="device",
            plant=Plant(cell=HANGS),
            strict="the worker of CPU killed by SIGKILL: it hung",
            rerun=(Told(part="device", what="it hung", fallback=AGAIN, ids=IDS[2:6]),),
        ),
        Case(
            fault="a worker that hangs and cannot be ended",
            kind="device",
            plant=Plant(cell=CANNOT_BE_KILLED + HANGS),
            strict="the worker of CPU cannot be ended: it hung",
            rerun=(Told(part="device", what="cannot be ended: it hung", fallback=AGAIN, ids=IDS[2:6]),),
        ),
        Case(
            fault="a worker that hangs while it loads the bundles",
            kind="device",
            plant=Plant(cell=HANGS_LOADING),
            strict="the worker of CPU killed by SIGKILL: it hung while it loaded the bundles",
            rerun=(Told(part="device", what="it hung while it loaded", fallback="the work is done on CPU"),),
        ),
        Case(
            fault="one of two devices failing at its start",
            kind="device",
            plant=Plant(cell=TWO_DEVICES + FAILS_TO_START),
            strict="ended with exit code 1: RuntimeError: CUDA error: device-side assert triggered",
            rerun=(Told(part="device", what="device-side assert", fallback="the work is done on CPU"),),
        ),
        Case(
            fault="one of two devices dying midway, again and again",
            kind="device",
            plant=Plant(cell=TWO_DEVICES + DIES_MIDWAY),
            strict="killed by SIGKILL",
            rerun=(Told(part="device", what="killed by SIGKILL", fallback="tried again on", ids=SOME),),
        ),
        Case(
            fault="a GPU like Kaggle's P100, which this torch has no kernels for",
            kind="device",
            plant=Plant(device="p100"),
            strict="",
            strict_note="Tesla P100-PCIE-16GB is sm_60",
            rerun=(Told(part="device", what="Tesla P100-PCIE-16GB is sm_60", fallback="predicted on 1 x CPU"),),
        ),
        Case(
            fault="one of two GPUs that multiplies wrongly",
            kind="device",
            plant=Plant(cell=ONE_GPU_OF_TWO),
            strict="",
            strict_note="GPU 0: Tesla T4 multiplies wrongly → predicted on 1 x Tesla T4",
            rerun=(
                Told(part="device", what="GPU 0: Tesla T4 multiplies wrongly", fallback="predicted on 1 x Tesla T4"),
            ),
        ),
        Case(
            fault="a driver that hangs when it is asked for its GPUs",
            kind="device",
            plant=Plant(cell="PROBE_S = 1.0\ncount_gpus = lambda: time.sleep(600)"),
            strict="",
            strict_note="no answer within 1 s, the driver hangs",
            rerun=(Told(part="device", what="no answer within 1 s", fallback="predicted on 1 x CPU"),),
        ),
    ]
