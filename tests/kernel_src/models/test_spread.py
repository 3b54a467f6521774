"""A backbone over several devices computes what it computes on one, and its weights are read a piece at a time."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from kernel_src.models import frozen_features, spread
from kernel_src.models.frozen_features import FrozenFeatures, device_for, load_frozen_features, must_spread
from kernel_src.models.half_precision import keep_in_half
from kernel_src.models.spread import places_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import Encoder, RegressorHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.device import DeviceReport, Spread
from kernel_src.runtime.files import WeightsError
from kernel_src.training.checkpoint import save_tensors
from tests.kernel_src.models.shards import write_shards

ROOT = Path(__file__).parents[3]
CPU, META = torch.device("cpu"), torch.device("meta")
VIT = Predictor(
    name="frozen",
    encoder=Encoder("test_vit", weights="i2b-test-vit", layers=(1, 3)),
    pictures=Pictures(32, 32),
    head=RegressorHead(("own", "cls", "mean", "max")),
)
DINOV3 = replace(VIT, encoder=Encoder("vit_small_patch16_dinov3", weights="i2b-dinov3", layers=(1, 9)))
PICTURES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def random_tensors(name: str, **options: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, **options).state_dict()


def load(experiment: Predictor, weights: Path, over: Spread | None = None) -> FrozenFeatures:
    return load_frozen_features(experiment, weights, over)


@pytest.mark.parametrize("experiment", [VIT, DINOV3], ids=lambda one: one.encoder.timm)
@pytest.mark.parametrize("devices", [2, 3])
def test_the_features_are_those_of_one_device_bit_for_bit(experiment: Predictor, devices: int, tmp_path: Path) -> None:
    tensors = random_tensors(experiment.encoder.timm)
    index = write_shards(tmp_path / "shards", tensors)
    save_tensors(tmp_path / "model.safetensors", tensors)
    with torch.inference_mode():
        wanted = load(experiment, tmp_path / "model.safetensors").to(memory_format=torch.channels_last)(PICTURES)
        whole = load(experiment, index).to(memory_format=torch.channels_last)
        assert torch.equal(whole(PICTURES), wanted), "all shards on one device"
        for weights in (index, tmp_path / "model.safetensors"):
            net = load(experiment, weights, Spread((CPU,) * devices, False))
            assert torch.equal(net(PICTURES), wanted)
    assert net.settled is not None and net.settled.name == "fp32"
    assert not any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


def test_what_passes_the_border_between_two_devices_is_moved(tmp_path: Path) -> None:
    """A meta tensor beside a real one raises, so each input of each layer behind the border has been moved."""
    save_tensors(tmp_path / "model.safetensors", random_tensors(DINOV3.encoder.timm))
    net = load(DINOV3, tmp_path / "model.safetensors", Spread((CPU, META), False)).to("cpu")
    assert next(net.backbone.norm.parameters()).is_meta, "to() has moved it"
    kinds = [{p.device.type for p in block.parameters()} for block in net.backbone.blocks]
    assert kinds == [{"cpu"}] * 6 + [{"meta"}] * 6
    last, found = net.backbone.forward_intermediates(PICTURES, indices=[2, 9], norm=True)
    assert net.backbone.forward_head(last).device == META
    assert {one.device for one in found} == {META}
    (early,) = net.backbone.forward_intermediates(PICTURES, indices=[2], stop_early=True, intermediates_only=True)
    assert early.device == CPU and torch.isfinite(early).all()


def test_each_device_has_its_share_to_within_a_block() -> None:
    with torch.device("meta"):
        backbone = timm.create_model("vit_7b_patch16_dinov3", num_classes=0)
    places = places_of(backbone, (CPU, META))
    assert [places[f"blocks.{i}"].type for i in range(40)] == ["cpu"] * 20 + ["meta"] * 20
    assert places["patch_embed"] == places["rope"] == CPU and places["norm"] == places["head"] == META
    assert len(set(places_of(backbone, (CPU,)).values())) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [("test_vit", {"img_size": 64}), ("test_vit", {"num_classes": 10})],
    ids=["embeddings of another size", "a classifier"],
)
def test_tensors_that_are_converted_or_dropped_are_so_in_pieces_too(name: str, options: dict, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_tensors(tmp_path / "model.safetensors", timm.create_model(name, **{"num_classes": 0} | options).state_dict())
    with torch.inference_mode():
        wanted = load(VIT, tmp_path / "model.safetensors").to(memory_format=torch.channels_last)(PICTURES)
        assert torch.equal(load(VIT, tmp_path / "model.safetensors", Spread((CPU, CPU), False))(PICTURES), wanted)


def test_a_tensor_that_is_missing_left_over_or_nan_is_refused(tmp_path: Path) -> None:
    tensors, over = random_tensors("test_vit"), Spread((CPU, CPU), False)
    key = "blocks.5.mlp.fc1.weight"
    cases = {
        f"{key} is missing": {name: tensor for name, tensor in tensors.items() if name != key},
        "extra is not in the model": tensors | {"extra": torch.ones(2)},
        rf"{key} has shape \(3,\)": tensors | {key: torch.ones(3)},
        f"NaN or infinite numbers in {key}": tensors | {key: torch.full_like(tensors[key], float("nan"))},
    }
    for said, held in cases.items():
        index = write_shards(tmp_path, held)
        with pytest.raises(WeightsError, match=said):
            load(VIT, index, over)
    save_tensors(tmp_path / "model.safetensors", timm.create_model("test_resnet", num_classes=0).state_dict())
    with pytest.raises(WeightsError, match="no row of blocks that could be spread over 2 devices"):
        load(
            replace(VIT, encoder=Encoder("test_resnet", weights="i2b-r"), head=RegressorHead(("mean",))),
            tmp_path / "model.safetensors",
            over,
        )


# fp16


def test_in_fp16_the_weights_and_features_are_those_of_one_device_and_the_first_block_is_compared(
    tmp_path: Path,
) -> None:
    save_tensors(tmp_path / "model.safetensors", random_tensors("test_vit"))
    alone, net = (load(VIT, tmp_path / "model.safetensors", over) for over in (None, Spread((CPU, CPU), True)))
    keep_in_half(alone.to(memory_format=torch.channels_last))
    for (name, one), (_, other) in zip(alone.state_dict().items(), net.state_dict().items(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other), name
    with torch.inference_mode(), torch.autocast("cpu", torch.float16):
        assert torch.equal(net(PICTURES), alone(PICTURES))
    assert net.settled is not None and net.settled.half
    assert net.settled.why.startswith("on its first block fp16 differs from fp32 by 0.0")


def test_a_first_block_that_fp16_cannot_compute_is_refused_whatever_the_experiment_says(tmp_path: Path) -> None:
    tensors = random_tensors("test_vit")
    tensors["blocks.0.mlp.fc1.weight"] *= 5e5  # each weight finite in fp16, their products are not
    save_tensors(tmp_path / "model.safetensors", tensors)
    for precision in ("auto", "fp16"):
        experiment = changed(VIT, {"encoder.precision": precision})
        with pytest.raises(WeightsError, match="fp16 differs from fp32 by inf%.*take a smaller encoder"):
            load(experiment, tmp_path / "model.safetensors", Spread((CPU, CPU), True))
    tensors["blocks.4.mlp.fc1.weight"] *= 1e9
    save_tensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(WeightsError, match=r"blocks.4.mlp.fc1.weight holds numbers beyond 65504"):
        load(VIT, tmp_path / "model.safetensors", Spread((CPU, CPU), True))
    full = changed(VIT, {"encoder.precision": "fp32"})
    assert load(full, tmp_path / "model.safetensors", Spread((CPU, CPU), True)).settled == (
        False,
        "the experiment says so; spread over 2 devices",
    )


def test_a_deviation_beyond_the_limit_is_refused_unless_the_experiment_insists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tensors(tmp_path / "model.safetensors", random_tensors("test_vit"))
    monkeypatch.setattr(spread, "LARGEST_DIFFERENCE", 1e-6)
    with pytest.raises(WeightsError, match="more than the 0% that rounding explains"):
        load(VIT, tmp_path / "model.safetensors", Spread((CPU, CPU), True))
    insisting = changed(VIT, {"encoder.precision": "fp16"})
    assert load(insisting, tmp_path / "model.safetensors", Spread((CPU, CPU), True)).settled is not None


# The rule

T4, H200 = (15_600_000_000, 15_830_000_000), (150_000_000_000, 150_750_000_000)
H_PLUS, SEVEN_B = 840_000_000, 6_716_030_976


@pytest.mark.parametrize(
    ("numbers", "half", "memory", "is_spread"),
    [
        (SEVEN_B, True, T4, True),
        (SEVEN_B, True, H200, False),
        (SEVEN_B, False, H200, False),
        (H_PLUS, True, T4, False),
        (H_PLUS, False, T4, False),
        (H_PLUS, True, (2_000_000_000, T4[1]), True),  # somebody else is on it
    ],
)
def test_only_what_leaves_no_room_for_the_arithmetic_on_one_gpu_is_spread(
    numbers: int, half: bool, memory: tuple[int, int], is_spread: bool
) -> None:
    assert must_spread(numbers, half, memory) is is_spread


def test_one_worker_owns_all_gpus_where_one_cannot_hold_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tensors(tmp_path / "model.safetensors", random_tensors("test_vit"))  # 306,240 numbers
    two = DeviceReport(kind="cuda", name="Tesla T4", count=2, half=True)

    def with_memory(free: int, total: int) -> DeviceReport:
        monkeypatch.setattr(frozen_features, "probed_gpu_memory", lambda index: (free, total))
        return device_for(VIT, tmp_path / "model.safetensors", two)

    assert with_memory(900_000, 900_000) == two
    small = with_memory(700_000, 700_000)
    assert (small.count, small.gpus_per_net) == (1, 2)
    assert small.spread == Spread((torch.device("cuda:0"), torch.device("cuda:1")), True)
    monkeypatch.setattr(frozen_features, "probed_gpu_memory", lambda index: None)
    assert device_for(VIT, tmp_path / "model.safetensors", two) == two
    for one in (replace(two, count=1), replace(two, kind="cpu", half=False)):
        assert device_for(VIT, tmp_path / "model.safetensors", one) == one


# Memory

IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
import torch
from kernel_src.models.frozen_features import load_frozen_features
from kernel_src.recipes.network import Encoder, RegressorHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.device import Spread

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

def experiment(timm):
    encoder = Encoder(timm, weights="i2b-large", layers=(1,))
    return Predictor(name="large", encoder=encoder, pictures=Pictures(224, 224), head=RegressorHead(("mean",)))

def load(timm, weights, *devices):
    return load_frozen_features(experiment(timm), Path(weights), Spread(tuple(map(torch.device, devices)), half))

small, large, half, *devices = sys.argv[1:]
half = half == "half"
load("test_vit", small, "cpu", "cpu")  # every import and library is there
before = peak_bytes()
net = load("vit_large_patch16_224", large, *devices)
loaded = peak_bytes() - before
share = sum(p.nbytes for p in net.parameters() if not p.is_meta)
features = None
if "meta" not in devices:
    with torch.inference_mode(), torch.autocast("cpu", torch.float16, enabled=half):
        features = net(torch.zeros(1, 3, 224, 224))
        assert features.shape == (1, 1024) and torch.isfinite(features).all()
print(loaded, share)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_a_gigabyte_over_two_devices_never_takes_more_memory_than_promised(tmp_path: Path) -> None:
    """ViT-L with random weights, 1.2 GB in three shards or one file: 1.2 x a shard + what lies on this machine.

    A device of kind meta stands for a GPU: what goes there takes no memory of the host.
    """
    save_tensors(tmp_path / "model.safetensors", random_tensors("test_vit"))
    tensors = random_tensors("vit_large_patch16_224")
    index, one_file = write_shards(tmp_path / "shards", tensors), tmp_path / "one" / "model.safetensors"
    one_file.parent.mkdir()
    save_tensors(one_file, tensors)
    total = sum(tensor.nbytes for tensor in tensors.values())
    del tensors
    shard = max(file.stat().st_size for file in index.parent.glob("*.safetensors"))
    assert 1.2e9 < total < 1.3e9 and 0.3 * total < shard < 0.4 * total

    def measured(weights: Path, half: bool, *devices: str) -> tuple[int, int]:
        arguments = [str(tmp_path / "model.safetensors"), str(weights), "half" if half else "full", *devices]
        found = subprocess.run(
            [sys.executable, "-c", IN_A_FRESH_PROCESS, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peak, share = map(int, found.stdout.split())
        print(f"{weights.name} {arguments[2]} {devices}: peak {peak / 1e9:.3f} GB, here {share / 1e9:.3f} GB")
        return peak, share

    cases = [(index, half, devices) for half in (False, True) for devices in (("cpu", "meta"), ("cpu", "cpu"))]
    cases += [(index, False, ("meta", "cpu")), (one_file, False, ("cpu", "meta")), (one_file, True, ("meta", "meta"))]
    for weights, half, devices in cases:
        peak, here = measured(weights, half, *devices)
        whole = total / 2 if half else total
        share = {0: 0, 1: whole / 2, 2: whole}[devices.count("cpu")]
        assert abs(here - share) < 0.05 * whole
        assert peak < 1.2 * shard + share, (weights, devices, half)
