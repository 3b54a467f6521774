"""What a notebook must not do because Kaggle's rerun has no internet, and because weights may not carry code.

1. A name that only exists to reach the network or to unpickle is refused wherever code mentions it.
2. A call is judged by what is written in it: `pretrained=True`, `allow_pickle=True`, a URL, a hub's id, `pip install`.
Text in strings, docstrings and comments is never code. Values are not followed through variables: the rehearsal, with
the network cut, finds what is put together when the notebook runs.
"""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from build.core.errors import Problem
from build.notebooks.check.checked_cells import Cell

_BUNDLE_CURE = "put the file into a dataset, list it in the kernel card and read it with find_dataset"
_SAFE_CURE = "keep tensors in safetensors, tables in CSV, settings in JSON"
_COMMAND_CURE = "remove it: there is no internet on Kaggle's rerun; what is needed belongs into the image or a dataset"
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
# Calls that start a program, by how their names begin.
_STARTERS = tuple(
    "os.system os.popen os.exec os.spawn os.posix_spawn subprocess. pty.spawn asyncio.create_subprocess_".split()
)
_FETCHING = frozenset(
    "pip pip3 pipx uv conda mamba apt apt-get aptitude dpkg yum dnf brew npm yarn wget curl aria2c lynx git git-lfs "
    "ssh scp sftp rsync ftp nc ncat telnet ping nslookup dig gsutil gcloud aws azcopy rclone kaggle hf "
    "huggingface-cli wandb gdown".split()
)
_BETWEEN_WORDS = re.compile(r"[\s;|&()$`\"'<>=]+")


@dataclass
class Names:
    """What the names of a notebook mean: one namespace, so the imports of all cells are read together.

    A name that nobody imports is not a module: a list called `requests` is only a list.
    """

    modules: dict[str, str] = field(default_factory=dict)  # bound name → dotted name
    defined: set[str] = field(default_factory=set)  # names that the notebook itself binds

    def dotted(self, node: ast.AST) -> str:
        """Return the full dotted name of an expression, "" where it has none that is known: `np.load` is numpy.load."""
        if isinstance(node, ast.Name):
            if node.id in self.modules:
                return self.modules[node.id]
            known = hasattr(builtins, node.id) or node.id == "get_ipython"
            return f"builtins.{node.id}" if known and node.id not in self.defined else ""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""


def read_names(cells: Iterable[Cell]) -> Names:
    """Collect imports (also inside functions) and definitions of all cells."""
    names = Names()
    for node in (node for cell in cells for node in cell.nodes):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names.modules[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names.modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.defined.add(node.name)
        elif isinstance(node, ast.arg):
            names.defined.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.defined.add(node.id)
    return names


def find_online(cells: Sequence[Cell]) -> list[Problem]:
    """List what a notebook does with the network, with pickles or out of this check's sight."""
    problems, names = [], read_names(cells)
    for cell in cells:
        parts = {id(node.value) for node in cell.nodes if isinstance(node, ast.Attribute)}
        for node in cell.nodes:
            if id(node) not in parts:  # of `a.b.c` only the whole is judged
                for what, cure in _faults_of(node, names):
                    problems.append(Problem(what=what, where=cell.where(getattr(node, "lineno", 0)), cure=cure))
    return list(dict.fromkeys(problems))


def _faults_of(node: ast.AST, names: Names) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        above = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        yield from filter(None, (_fault_of_name(f"{above}{alias.name}") for alias in node.names))
    elif isinstance(node, ast.Name | ast.Attribute):
        dotted = names.dotted(node)
        # `requests` alone was reported where it was imported; `requests.get` says what for.
        if (isinstance(node, ast.Attribute) or dotted != node.id) and (fault := _fault_of_name(dotted)):
            yield fault
        elif isinstance(node, ast.Attribute) and node.attr in _DOWNLOADS:
            yield f".{node.attr} downloads", _BUNDLE_CURE
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node, names.dotted(node.func))


def _fault_of_name(dotted: str) -> tuple[str, str] | None:
    if not dotted or _below(dotted, _ALLOWED):
        return None
    if _below(dotted, _NETWORK):
        return f"{dotted} reaches for the network", _BUNDLE_CURE
    if _below(dotted, _PICKLE):
        return f"{dotted} unpickles, which runs whatever code the file holds", _SAFE_CURE
    if _below(dotted, _HIDDEN):
        return f"{dotted.removeprefix('builtins.')} hides code from this check", "write the code out"
    if dotted.rpartition(".")[2] in _DOWNLOADS or dotted.startswith("sklearn.datasets.fetch_"):
        return f"{dotted} downloads", _BUNDLE_CURE
    return None


def _below(dotted: str, roots: Iterable[str]) -> bool:
    return any(dotted == root or dotted.startswith(f"{root}.") for root in roots)


def _faults_of_call(node: ast.Call, dotted: str) -> Iterator[tuple[str, str]]:
    """Judge a call by the literals in it."""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else dotted.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    arguments = [*node.args, *keywords.values()]
    texts = list(filter(None, map(_text, arguments)))
    if dotted.startswith(_STARTERS):
        yield from _faults_of_command(node, dotted)
        return
    pretrained = keywords.get("pretrained")
    if pretrained is None and dotted == "timm.create_model" and len(node.args) > 1:
        pretrained = node.args[1]
    if _is_true(pretrained):
        yield "pretrained=True downloads weights", f"pretrained=False; {_BUNDLE_CURE}"
    if dotted.startswith("torchvision.models.") and (weights := keywords.get("weights")) is not None:
        if isinstance(weights, ast.Attribute) or _text(weights):
            yield f"{dotted}(weights=…) downloads weights", f"weights=None; {_BUNDLE_CURE}"
    if dotted.startswith("timm."):
        for text in filter(_HUB.match, texts):
            yield f"{dotted} loads {text[:60]} from the hub", f"pretrained=False; {_BUNDLE_CURE}"
    if dotted == "numpy.load" and "allow_pickle" in keywords and ast.unparse(keywords["allow_pickle"]) != "False":
        yield "numpy.load with allow_pickle unpickles, which runs whatever code the file holds", _SAFE_CURE
    if _is_true(keywords.get("download")):
        yield f"{last}(download=True) downloads", _BUNDLE_CURE
    if last == "from_pretrained":
        where = _text(node.args[0] if node.args else keywords.get("pretrained_model_name_or_path"))
        if where and not where.startswith(("/", "./", "../")):
            yield f"from_pretrained({where[:60]!r}) downloads from the hub", _BUNDLE_CURE
    elif _OPENS & set(last.lower().split("_")):
        for text in filter(_URL.match, texts):
            yield f"{last} opens {text[:60]}", _BUNDLE_CURE


def _faults_of_command(node: ast.Call, dotted: str) -> Iterator[tuple[str, str]]:
    """Look at each word of a command that is written out: `ls; curl …`, `["env", "X=1", "pip", …]`."""
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    words = [word for text in texts for word in _BETWEEN_WORDS.split(text) if word]
    if any(word.rpartition("/")[2] in _FETCHING or "://" in word for word in words):
        yield f"{dotted} starts {' '.join(words)[:60]!r}", _COMMAND_CURE


def _is_true(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _text(node: ast.AST | None) -> str:
    """Return the text that a literal begins with: a string, an f-string, a sum; "" for anything else."""
    if isinstance(node, ast.BinOp):
        return _text(node.left)
    if isinstance(node, ast.JoinedStr):
        return _text(node.values[0]) if node.values else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
