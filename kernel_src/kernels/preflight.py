# %% [markdown]
# # Preflight
#
# > Five minutes on the live image: which versions, GPUs, mounts and environment variables there really are, beside what
# > the kit assumes. The result is `preflight.json`; on your machine `python -m build preflight --accept` takes it over.
#
# Attach the competition's data; nothing else is needed, nothing is trained and nothing can be submitted.

# %%
import os
import platform
import shutil
import time
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

# %% [markdown]
# ## Parameters
#
# The one cell to edit.

# %% tags=["parameters"]
ASSUMED = {"torch": ""}  # name in `import` → version that the kit assumes; empty: unknown until now
PARTS = ("biomass",)  # whose competition is looked for; the build chooses
NETWORKS = ()  # of timm, to be timed: [[name, height in px, width, batch], …]
EACH_S = 5.0  # for each figure of a network
PRINT_S = 0  # seconds for which a line is printed every five, for whoever reads the log meanwhile

# %% [markdown]
# ## Versions
#
# By the name one imports: `cv2` comes from any of four packages, and and it depends on the image which.

# %%
start_s = time.perf_counter()
installed = {one.metadata["Name"]: one.version for one in distributions()}
providers = packages_distributions()
live_versions = {
    name: {provider: installed[provider] for provider in sorted(set(providers.get(name, []))) if provider in installed}
    for name in ASSUMED
}
print(f"Python {platform.python_version()} on {platform.platform()}, {len(installed)} packages\n")
print(f"{'import':<16}{'assumed':<14}live")
for name, assumed_version in ASSUMED.items():
    found = live_versions[name]
    text = ", ".join(f"{package} {version}" for package, version in found.items()) or "NOT INSTALLED"
    differs = bool(assumed_version) and assumed_version not in {version.split("+")[0] for version in found.values()}
    print(f"{name:<16}{assumed_version or '?':<14}{text}{'   <- differs' if differs else ''}")

# %% [markdown]
# ## Where the data is mounted
#
# Which of the two layouts this session has.

# %%
from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.files import write_json
from kernel_src.runtime.mounts import find_competition, folder_tree, kaggle_root, working_folder

working = working_folder()
inputs = kaggle_root() / "input"
mount_fault = ""
competition_at = ""
try:
    competition_at = find_competition(facts().slug, facts().train_csv).relative_to(inputs).as_posix()
except FileNotFoundError as error:
    mount_fault = str(error)
layout = {f"competitions/{facts().slug}": "new", facts().slug: "legacy", "": "missing"}.get(competition_at, "other")
mount_tree = folder_tree(inputs)
print(f"layout: {layout} ({competition_at or mount_fault})\n{mount_tree}")

# %% [markdown]
# ## Machine
#
# Every GPU has to compute: a P100 is listed, but this torch has no kernels for it.

# %%
import torch

from kernel_src.runtime.device import check_device

device = check_device()
gpus = [
    {
        "name": torch.cuda.get_device_properties(index).name,
        "capability": "sm_{}{}".format(*torch.cuda.get_device_capability(index)),
        "memory_gb": round(torch.cuda.get_device_properties(index).total_memory / 1e9, 2),
    }
    for index in range(torch.cuda.device_count())
]
machine = {
    "cpus": os.cpu_count(),
    "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 2),
    "working_free_gb": round(shutil.disk_usage(working).free / 1e9, 2),
    "shared_memory_gb": round(shutil.disk_usage("/dev/shm").total / 1e9, 2) if Path("/dev/shm").is_dir() else None,
    "gpus": gpus,
    "gpu_architectures": torch.cuda.get_arch_list(),
    "cuda": torch.version.cuda,
    "device": device.as_json(),
}
for name, value in machine.items():
    print(f"{name:<20}{value}")

# %% [markdown]
# ## Environment
#
# Names only: the value of `KAGGLE_USER_SECRETS_TOKEN` is a secret, and a log travels.

# %%
variable_names = sorted(os.environ)
print("\n".join(variable_names))

# %% [markdown]
# ## Speed of networks
#
# With random weights, in fp16 as a training computes: forward passes, training steps with AdamW, and forward passes on
# every GPU at once. None but where it is asked for.

# %%
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat


def pictures_per_s(step, batch, place):
    """Repeat a step for EACH_S, after two to warm up."""

    def run_once():
        step()
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    for _ in range(2):
        run_once()
    begun_s, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - begun_s < EACH_S:
        run_once()
        steps += 1
    return round(steps * batch / (time.perf_counter() - begun_s), 3)


def network_steps(name, height, width, batch, place):
    """Return a network of timm on a device, its forward pass and its training step."""
    import timm

    options = {"img_size": (height, width)} if name.startswith("vit_") else {}
    net = timm.create_model(name, num_classes=5, **options).to(place).eval()
    pictures, half = torch.rand(batch, 3, height, width, device=place), place.type == "cuda"
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)
    scaler = torch.amp.GradScaler(place.type, enabled=half)

    def forward():
        with torch.no_grad(), torch.autocast(place.type, torch.float16, enabled=half):
            net(pictures)

    def train():
        with torch.autocast(place.type, torch.float16, enabled=half):
            outputs = net(pictures)
        scaler.scale(outputs.float().square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return net, forward, train


def flops_of(net, height, width, place):
    """Count the operations of one picture's forward pass; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.rand(1, 3, height, width, device=place))
    return counter.get_total_flops()


def all_at_once(forwards, batch, places):
    """Return the pictures per second of every device together, each in a thread of its own."""
    with ThreadPoolExecutor(len(places)) as pool:
        return round(sum(pool.map(pictures_per_s, forwards, repeat(batch), places)), 3)


def time_network(name, height, width, batch, places):
    """Time one network; one that fails, for want of memory perhaps, says why."""
    first, timed = places[0], {"network": name, "size_px": [height, width], "batch": batch}
    try:
        built = [network_steps(name, height, width, batch, place) for place in places]
        net, forward, train = built[0]
        timed["flops"] = flops_of(net, height, width, first)
        timed["forward_per_s"] = pictures_per_s(forward, batch, first)
        timed["together_per_s"] = all_at_once([one[1] for one in built], batch, places)
        net.train()
        timed["train_per_s"] = pictures_per_s(train, batch, first)
        timed["train_gb"] = round(torch.cuda.max_memory_allocated(first) / 1e9, 2) if first.type == "cuda" else None
    except RuntimeError as error:
        timed["fault"] = str(error)[:200]
    return timed


places = [torch.device("cuda", index) for index in range(len(gpus))] if device.kind == "cuda" else [torch.device("cpu")]
speed = []
for network in NETWORKS:
    speed.append(time_network(*network, places))
    print(", ".join(f"{key} {value}" for key, value in speed[-1].items()), flush=True)
    if device.kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(places[0])

# %% [markdown]
# ## Lines for the log
#
# None but where the log itself is looked at.

# %%
for second in range(0, PRINT_S, 5):
    print(f"second {second} of {PRINT_S}", flush=True)
    time.sleep(5)

# %% [markdown]
# ## Result

# %%
preflight = {
    "format": 1,
    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "python": platform.python_version(),
    "assumed": ASSUMED,
    "versions": live_versions,
    "installed": dict(sorted(installed.items())),
    "machine": machine,
    "mounts": {"layout": layout, "competition": competition_at, "fault": mount_fault, "tree": mount_tree.splitlines()},
    "environment": variable_names,
    "speed": speed,
    "seconds": round(time.perf_counter() - start_s, 3),
}
write_json(working / "preflight.json", preflight)
print(f"{working / 'preflight.json'}: Python {preflight['python']}, {len(gpus)} GPUs, layout {layout}")
