"""What a notebook must not do because Kaggle's rerun has no internet, and because weights may not carry code.

1. A name that only exists to reach the network or to unpickle is refused wherever code mentions it.
2. A call that may do either is judged by its arguments: `pretrained=True`, `allow_pickle=True`, a URL, a hub's id.
3. A program is started only with a command that can be read here and that fetches nothing.
Text in strings, docstrings and comments is never code.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from build.notebooks.check.checked_cells import Cell
from build.notebooks.check.commands import command_fault, is_command
from build.notebooks.check.names import Names
from build.core.errors import Problem

_BUNDLE_CURE = "put the file into a dataset, list it in the kernel card and read it with find_dataset"
_SAFE_CURE = "keep tensors in safetensors, tables in CSV, settings in JSON"
# Dotted names and all below them → what they do. A longer name in _ALLOWED wins.
_NETWORK = (
    "urllib requests http socket ssl socketserver ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc webbrowser "
    "urllib3 httpx aiohttp websocket websockets paramiko pycurl wget boto3 botocore s3fs gcsfs google.cloud fsspec "
    "huggingface_hub kagglehub kaggle gdown opendatasets datasets.load_dataset kaggle_secrets "
    "torch.hub torch.utils.model_zoo torch.distributed.rpc torchvision.datasets.utils transformers.pipeline "
    "transformers.utils.hub asyncio.open_connection asyncio.create_server asyncio.start_server"
).split()
_PICKLE = (
    "pickle _pickle cPickle dill cloudpickle shelve marshal torch.load joblib.load pandas.read_pickle "
    "torch.serialization.load numpy.lib.format.read_array"
).split()
_HIDDEN = (
    "importlib.import_module importlib.util.spec_from_file_location importlib.util.module_from_spec runpy imp "
    "builtins.exec builtins.eval builtins.compile builtins.__import__ builtins.get_ipython"
).split()
_ALLOWED = {"urllib.parse", "urllib.error", "http.HTTPStatus"}
# Last names that download whatever object they hang on; no harmless thing is called so.
_DOWNLOADS = frozenset(
    "hf_hub_download snapshot_download load_state_dict_from_url load_url urlopen urlretrieve download_url "
    "download_url_to_file load_state_dict_from_hf load_model_config_from_hf".split()
)
_URL = re.compile(r"(https?|ftp|s3|gs|hf|git\+https?)://", re.IGNORECASE)
_HUB = re.compile(r"(hf[-_]hub|hf|local-hf):", re.IGNORECASE)
_OPENS = frozenset("read load open fetch download imread imopen genfromtxt loadtxt retrieve scan stream".split())


def find_online(cells: Sequence[Cell], names: Names) -> list[Problem]:
    """List what a notebook does with the network, with pickles or out of this check's sight."""
    problems = []
    for cell in cells:
        called = {id(node.func) for node in cell.nodes if isinstance(node, ast.Call)}
        parts = {id(node.value) for node in cell.nodes if isinstance(node, ast.Attribute)}
        for node in cell.nodes:
            if isinstance(node, ast.Name | ast.Attribute) and id(node) in parts:
                continue  # of `a.b.c` only the whole is judged
            for what, cure in _faults_of(node, names, called):
                problems.append(Problem(what=what, where=cell.where(getattr(node, "lineno", 0)), cure=cure))
    return list(dict.fromkeys(problems))


def _faults_of(node: ast.AST, names: Names, called: set[int]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from filter(None, map(_fault_of_name, _imported(node)))
    elif isinstance(node, ast.Name | ast.Attribute):
        dotted = names.dotted(node)
        # `requests` alone was reported where it was imported; `requests.get` says what for.
        fault = _fault_of_name(dotted) if isinstance(node, ast.Attribute) or dotted != node.id else None
        if fault:
            yield fault
        elif is_command(dotted) and id(node) not in called:
            yield f"{dotted} is passed on, so its command cannot be read here", "call it directly"
        elif isinstance(node, ast.Attribute) and node.attr in _DOWNLOADS:
            yield f".{node.attr} downloads", _BUNDLE_CURE
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node, names)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if names.constant(key) == "pretrained" and names.constant(value) is True:
                yield "'pretrained': True downloads weights", _BUNDLE_CURE


def _imported(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _fault_of_name(dotted: str) -> tuple[str, str] | None:
    if not dotted or _below(dotted, _ALLOWED):
        return None
    if _below(dotted, _NETWORK):
        return f"{dotted} reaches for the network", _BUNDLE_CURE
    if _below(dotted, _PICKLE):
        return f"{dotted} unpickles, which runs whatever code the file holds", _SAFE_CURE
    if _below(dotted, _HIDDEN):
        return f"{dotted.removeprefix('builtins.')} hides code from this check", "write the code out"
    if dotted.rpartition(".")[2] in _DOWNLOADS:
        return f"{dotted} downloads", _BUNDLE_CURE
    if dotted.startswith("sklearn.datasets.fetch_"):
        return f"{dotted} downloads", _BUNDLE_CURE
    return None


def _below(dotted: str, roots: Iterable[str]) -> bool:
    return any(dotted == root or dotted.startswith(f"{root}.") for root in roots)


def _faults_of_call(node: ast.Call, names: Names) -> Iterator[tuple[str, str]]:
    dotted = names.dotted(node.func)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else dotted.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if dotted.startswith("builtins.getattr"):
        dotted = names.dotted(node)
        if fault := _fault_of_name(dotted):
            yield fault
    if is_command(dotted):
        if fault := command_fault(node, names):
            yield fault
        return
    yield from _faults_of_model(dotted, node, keywords, names)
    if dotted == "numpy.load" and names.constant(keywords.get("allow_pickle") or ast.Constant(False)) is not False:
        yield "numpy.load with allow_pickle unpickles, which runs whatever code the file holds", _SAFE_CURE
    if names.constant(keywords.get("download")) is True:
        yield f"{last}(download=True) downloads", _BUNDLE_CURE
    if last == "from_pretrained" and (fault := _pretrained_fault(node, keywords, names)):
        yield fault
    elif _OPENS & set(last.lower().split("_")):
        for argument in [*node.args, *keywords.values()]:
            text = names.opening(argument)
            if _URL.match(text):
                yield f"{last} opens {text[:60]}", _BUNDLE_CURE


def _faults_of_model(
    dotted: str, node: ast.Call, keywords: dict[str, ast.expr], names: Names
) -> Iterator[tuple[str, str]]:
    """Judge `pretrained`, `weights` and names of hub models."""
    cure = f"pretrained=False; {_BUNDLE_CURE}"
    model_zoo = dotted.startswith(("timm.", "torchvision.models."))
    pretrained = keywords.get("pretrained")
    if pretrained is None and model_zoo and len(node.args) > 1 and dotted.endswith(".create_model"):
        pretrained = node.args[1]
    value = names.constant(pretrained)
    if value is True or (pretrained is not None and model_zoo and value is ...):
        yield f"pretrained={'True downloads weights' if value is True else 'is not plainly False'}", cure
    if dotted.startswith("torchvision.models."):
        weights = keywords.get("weights")
        if weights is not None and names.constant(weights) is not None:
            yield f"{dotted}(weights=…) downloads weights", f"weights=None; {_BUNDLE_CURE}"
    if dotted.startswith("timm."):
        for argument in [*node.args, *keywords.values()]:
            if _HUB.match(names.opening(argument)):
                yield f"{dotted} loads {names.opening(argument)[:60]} from the hub", cure


def _pretrained_fault(node: ast.Call, keywords: dict[str, ast.expr], names: Names) -> tuple[str, str] | None:
    """Judge `X.from_pretrained(where, …)`: a folder, or at least local_files_only=True and no hub id in plain sight."""
    where = node.args[0] if node.args else keywords.get("pretrained_model_name_or_path")
    text = names.opening(where) if where is not None else ""
    if text.startswith(("/", "./", "../")) or (where is not None and _is_path(where, names)):
        return None
    if text:
        return f"from_pretrained({text[:60]!r}) downloads from the hub", _BUNDLE_CURE
    if names.constant(keywords.get("local_files_only")) is True:
        return None
    return "from_pretrained of something that is not plainly a folder", "pass a Path, or local_files_only=True"


def _is_path(node: ast.expr, names: Names) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div)
    if isinstance(node, ast.Name):
        values = names.values.get(node.id, [])
        return len(values) == 1 and not isinstance(values[0], ast.Name) and _is_path(values[0], names)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("find_dataset", "find_competition"):
            return True
        dotted = names.dotted(node.func)
        if dotted == "builtins.str" and node.args:
            return _is_path(node.args[0], names)
        return dotted == "pathlib.Path"
    return False
