"""What a running script may look up by its name, so that it cannot get another one.

- functions and classes: pickle stores their names, and so does what sends them to another process;
- variables in texts that pandas, numexpr, duckdb and the like read: `"x > @limit"`;
- annotations that are texts, where somebody shows them.

This is decided for all sources together and errs on the safe side; what is only called is never stored.
"""

import ast
import re
from collections.abc import Iterable, Iterator

from build.stitch.library import Library
from build.stitch.modules import Module
from build.stitch.order import Plan
from build.stitch.purity import annotations

_PICKLING = frozenset(  # packages
    "pickle cPickle _pickle dill cloudpickle joblib shelve multiprocessing multiprocess pathos ray dask mpire submitit "
    "billiard loky torch.multiprocessing concurrent.futures.ProcessPoolExecutor tqdm.contrib.concurrent".split()
)
_PICKLING_ATTRIBUTES = frozenset("multiprocessing ProcessPoolExecutor process_map get_context set_start_method".split())
_SAVING = frozenset("save dump dumps save_checkpoint save_object".split())
_CHECKPOINTS = frozenset("lightning pytorch_lightning transformers accelerate fastai ignite catalyst diskcache".split())
_WRITES_TEXT = frozenset("json toml csv tomli_w numpy".split())
_PLAIN_CALLS = frozenset("state_dict str int float len round bool asdict".split())
_NEVER_SENT = frozenset("Module Dataset IterableDataset Sampler BatchSampler Optimizer LightningModule".split())
_READS_TEXTS = frozenset("numexpr duckdb pandasql timeit".split())
_SHOWS_ANNOTATIONS = re.compile(r"__annotations__|\b(getfullargspec|get_annotations)\b|\.annotation\b")


class LookedUp:
    """Says of a variable whether it may be looked up by its name."""

    def __init__(self, plan: Plan, library: Library) -> None:
        """Read all sources."""
        self.plan, self.library = plan, library
        nodes = [node for module in plan.everything for node in module.names.nodes]
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        outside = [one.meaning.module for module in plan.everything for one in library.imports(module) if not one.runs]
        packages = {part for path in outside for part in _prefixes(path)}
        self.pickles = bool(packages & _PICKLING or attributes & _PICKLING_ATTRIBUTES)
        saves = any(_may_save_objects(node) for node in nodes if isinstance(node, ast.Call))
        self.saves = bool(saves or packages & _CHECKPOINTS or "to_pickle" in attributes)
        self.sends = "DataLoader" in attributes | {path.rpartition(".")[2] for path in outside}
        asked = any(_asks_pandas(node) for node in nodes if isinstance(node, ast.Call)) and "pandas" in packages
        self.in_texts = _words(_texts(plan)) if asked or packages & _READS_TEXTS else set()
        self.in_annotations = _words(_annotations(plan)) if any(map(_shows_annotations, plan.everything)) else set()
        self.values = _mentioned_as_values(plan)

    def why(self, name: str, members: Iterable[Module]) -> str:
        """Return why a variable of these modules may be looked up by its name; nothing where it is not."""
        if name in self.in_texts:
            return f"a text names {name}, and may be read as code"
        if name in self.in_annotations:
            return f"{name} is in an annotation that may be shown as a text"
        for module in members:
            for binding in module.runtime(name):
                if self.is_stored(name, binding.node, module):
                    return f"{name} may be pickled, by its name"
        return ""

    def is_stored(self, name: str, node: ast.AST, module: Module) -> bool:
        """Whether what a node defines may be pickled."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return (self.pickles or self.saves) and name in self.values
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            return self.pickles or self.saves or (self.sends and not bases & _NEVER_SENT)
        return (self.pickles or self.saves or self.sends) and _is_made_by_name(name, node, module)


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split(".")
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


def _may_save_objects(call: ast.Call) -> bool:
    """Whether a call may pickle what it is given: `torch.save(model, …)`, not `torch.save(model.state_dict(), …)`."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in _SAVING or not call.args:
        return False
    root = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(root, ast.Name) and (root.id in _WRITES_TEXT or root.id == "np"):
        return False
    return not _is_plain(call.args[0])


def _is_plain(node: ast.expr | None) -> bool:
    """Whether an expression surely has a value without classes of ours."""
    match node:
        case ast.Constant() | ast.JoinedStr() | ast.Compare():
            return True
        case ast.Call():
            return getattr(node.func, "attr", getattr(node.func, "id", "")) in _PLAIN_CALLS
        case ast.Dict():
            return all(map(_is_plain, node.values))
        case ast.List() | ast.Tuple() | ast.Set():
            return all(map(_is_plain, node.elts))
        case ast.BinOp():
            return _is_plain(node.left) and _is_plain(node.right)
        case ast.IfExp():
            return _is_plain(node.body) and _is_plain(node.orelse)
    return False


def _is_made_by_name(name: str, node: ast.AST, module: Module) -> bool:
    """Whether a variable holds what was told its name: `Point = namedtuple("Point", …)`."""
    return any(
        isinstance(one, ast.Assign)
        and any(target is node for target in one.targets)
        and isinstance(one.value, ast.Call)
        and any(isinstance(given, ast.Constant) and given.value == name for given in one.value.args)
        for one in module.names.nodes
    )


def _mentioned_as_values(plan: Plan) -> set[str]:
    """Return the names that are somewhere mentioned otherwise than to be called or to decorate."""
    found: set[str] = set()
    for module in plan.everything:
        called = {id(node.func) for node in module.names.nodes if isinstance(node, ast.Call)}
        for node in module.names.nodes:
            called |= {id(one) for one in getattr(node, "decorator_list", ())}
        for use in module.names.uses:
            node = use.attributes[-1] if use.attributes else use.node
            if isinstance(node.ctx, ast.Load) and id(node) not in called:
                found.add(use.attributes[-1].attr if use.attributes else use.node.id)
        for site in module.names.sites:
            found |= {alias.name for alias in site.node.names if alias.asname}
    return found


def _asks_pandas(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in {"query", "eval"} and bool(call.args)


def _shows_annotations(module: Module) -> bool:
    text = module.text
    shows_types = re.search(r"\bfields\b", text) and re.search(r"\.type\b", text)
    shows_signatures = re.search(r"\bsignature\(", text) and not re.search(r"\.parameters\b", text)
    return bool(_SHOWS_ANNOTATIONS.search(text) or shows_types or shows_signatures)


def _texts(plan: Plan) -> Iterator[str]:
    """Yield every text that is no docstring."""
    for module in plan.everything:
        alone = {id(node.value) for node in module.names.nodes if isinstance(node, ast.Expr)}
        for node in module.names.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield node.value


def _annotations(plan: Plan) -> Iterator[str]:
    """Yield the annotations that are texts: in quotes, and in a module that postpones them all."""
    for module in plan.everything:
        yield from (str(node.value) for node, _, _ in module.names.quoted)
        if any(isinstance(one.node, ast.ImportFrom) and one.node.module == "__future__" for one in module.names.sites):
            for node in module.names.nodes:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from map(ast.unparse, annotations(node))
                elif isinstance(node, ast.AnnAssign):
                    yield ast.unparse(node.annotation)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text)}
