"""A kernel is not a process: what a real ipykernel has replaced, or keeps for itself.

A notebook's cells run inside a process that lives before and after them: an event loop runs already, the streams are
not files, input comes from nobody, signals are the kernel's, and nothing ends when the last cell does. A spawned
process cannot import what a notebook defines, and a class of ours has another full name there. Each rule is a small
function, as those in `rules`; names are followed through aliases and `from … import`.

The rules of `RULES` hold for every script. Those of `FOREIGN_RULES` are asked of somebody else's only: our own kernels
do some of it knowingly.
"""

import ast
import re
from collections.abc import Callable, Iterator

from build.stitch.library import Imported
from build.stitch.module_context import Meanings, ModuleContext
from build.stitch.modules import Module
from build.stitch.scopes import Use

Dotted = Callable[[Use, Module, Meanings], Iterator[str]]
Reason = tuple[str, str]  # why, and what to do instead

_LOOP = ("the kernel's event loop runs already", "do it without an event loop, e.g. in threads")
_STREAM = ("the kernel's streams are not files", "use print, or a file of your own")
_INPUT = ("nobody can type into a notebook that runs by itself", "take the value as a parameter")
_SIGNAL = ("the kernel handles signals itself", "do without signals")
_END = ("the kernel does not end where the script does", "do it in the script, at its end")
_PROCESS = ("it copies, replaces or ends the kernel itself", "start a process with subprocess or multiprocessing")
_SPAWN = ("a process that is not forked cannot import what a notebook defines", 'use the start method "fork"')
_HOOK = ("the kernel uses its own", "do without it")
_NOTEBOOK = ("it tells a notebook from a script", "do without it")
_LOOKUP = ("it finds modules by their names, which a notebook does not have", "import what you need by name")
_PICKLE = ("a class of ours has another full name in a notebook", "save plain values, e.g. as JSON")
_PLACE = ("a notebook has other file names and lines", "leave them out")

# Dotted names, and all below them.
_REPLACED: tuple[tuple[Reason, str], ...] = (
    (
        _LOOP,
        "asyncio.run asyncio.Runner asyncio.get_event_loop asyncio.new_event_loop asyncio.set_event_loop "
        "asyncio.get_running_loop asyncio.set_event_loop_policy asyncio.current_task asyncio.all_tasks anyio.run "
        "uvloop nest_asyncio",
    ),
    (_STREAM, "sys.__stdout__ sys.__stderr__ os.dup2 os.ttyname termios tty curses pty"),
    (_INPUT, "sys.stdin sys.__stdin__ getpass fileinput pdb code.interact readline sys.breakpointhook"),
    (
        _SIGNAL,
        "signal.signal signal.set_wakeup_fd signal.siginterrupt signal.pthread_sigmask signal.sigwait signal.pause "
        "signal.sigwaitinfo signal.sigtimedwait signal.alarm signal.setitimer signal.raise_signal signal.getsignal "
        "faulthandler",
    ),
    (_END, "atexit weakref.finalize threading.Timer threading._register_atexit"),
    (
        _PROCESS,
        "os._exit os.fork os.forkpty os.abort os.kill os.killpg os.setsid os.execl os.execle os.execlp os.execlpe "
        "os.execv os.execve os.execvp os.execvpe",
    ),
    (
        _SPAWN,
        "multiprocessing.context multiprocessing.set_executable multiprocessing.spawn "
        "multiprocessing.set_forkserver_preload "
        "torch.distributed.run torch.distributed.launch joblib.Parallel loky ray dask",
    ),
    (
        _HOOK,
        "sys.excepthook sys.displayhook sys.unraisablehook sys.settrace sys.setprofile threading.excepthook "
        "sys.last_value sys.last_type sys.last_traceback sys.warnoptions warnings.filters",
    ),
    (
        _LOOKUP,
        "hydra mmengine mmcv detectron2.config jsonargparse gin sacred kedro allennlp fairseq pydoc.locate "
        "lightning.pytorch.cli pytorch_lightning.cli torch.package",
    ),
    (_NOTEBOOK, "IPython __main__ sys.ps1 sys.ps2 sys.orig_argv sys.flags unittest.main doctest.testmod"),
)
_PICKLES = frozenset(
    "pickle.dump pickle.dumps pickle.load pickle.loads pickle.Pickler pickle.Unpickler cloudpickle dill joblib.dump "
    "joblib.load shelve copyreg".split()
)
_STREAM_USES = frozenset({"write", "writelines", "flush", "isatty"})
_LOOP_METHODS = frozenset({"run_until_complete", "run_forever"})
_BUILTINS = {"input": _INPUT, "breakpoint": _INPUT, "get_ipython": _NOTEBOOK, "display": _NOTEBOOK}
_ON_DESCRIPTORS = frozenset(
    "open io.open os.write os.read os.fdopen os.isatty os.fstat os.close os.set_blocking".split()
)
_DEVICES = re.compile(r"/dev/(?:std(?:in|out|err)|fd/|tty)|/proc/self/")
_CONTEXTS = frozenset({"mp_context", "multiprocessing_context", "start_method"})
_OPENERS = frozenset("open io.open gzip.open bz2.open lzma.open codecs.open".split())
_SPAWNERS = frozenset(f"torch.multiprocessing.{name}" for name in ("spawn", "spawn.spawn", "start_processes"))
_POOLS = frozenset({"concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor"})
_LOG_PLACES = re.compile(r"%\((?:filename|pathname|module|lineno)\)")
_MODELS = frozenset({"model", "net", "network", "module"})


def refuse_kernel_differences(module: Module, context: ModuleContext, dotted: Dotted) -> None:
    """Apply every rule of this page to one module."""
    seen = _Seen(module, context, dotted)
    for rule in (*RULES, *(FOREIGN_RULES if context.foreign else ())):
        rule(seen)


class _Seen:
    """A module with what its names mean outside."""

    def __init__(self, module: Module, context: ModuleContext, dotted: Dotted) -> None:
        self.module, self.context = module, context
        wanted = _PACKAGES | (_FOREIGN_PACKAGES if context.foreign else frozenset())
        outside = {
            one.bound
            for one in context.imports(module)
            if one.meaning.kind == "outside"
            and (one.meaning.module.split(".")[0] in wanted or one.meaning.module.startswith("torch.multiprocessing"))
        }
        self.uses = [
            (use, paths)
            for use in module.names.uses
            if use.name in outside and not use.typing_only and (paths := list(dotted(use, module, context)))
        ]
        self.calls = [node for node in module.names.nodes if isinstance(node, ast.Call)]
        self.meant = {id(use.attributes[-1] if use.attributes else use.node): paths[-1] for use, paths in self.uses}
        self.bound = set(module.names.module.bound)

    def called(self, call: ast.Call) -> str:
        """Return what a call calls: `os.dup2`, for a builtin its name; "" for what is not known from here."""
        if isinstance(call.func, ast.Name) and id(call.func) not in self.meant and call.func.id not in self.bound:
            return call.func.id
        return self.meant.get(id(call.func), "")

    def mentions(self, *words: str) -> bool:
        """Whether the text has one of these words anywhere: without them most rules have nothing to look for."""
        return any(word in self.module.text for word in words)

    def ours(self) -> list[Imported]:
        """Return the imports of modules of ours."""
        return [one for one in self.context.imports(self.module) if one.runs]

    def has_attribute(self, *names: str) -> bool:
        """Whether the module mentions one of these attributes of anything."""
        return any(isinstance(node, ast.Attribute) and node.attr in names for node in self.module.names.nodes)

    def refuse(self, node: ast.AST, what: str, reason: Reason) -> None:
        """Note a place."""
        self.context.refuse(self.module.at(node), f"{what} is not the same in a notebook: {reason[0]}", reason[1])


_BY_NAME = {name: reason for reason, names in _REPLACED for name in names.split()}
_PACKAGES = frozenset(name.split(".")[0] for name in (*_BY_NAME, *_POOLS, *_OPENERS)) - {"torch", "open"} | {"logging"}
_FOREIGN_PACKAGES = frozenset("torch matplotlib pylab numpy pandas loguru rich tqdm".split()) | {
    name.split(".")[0] for name in _PICKLES
}


def _listed(seen: _Seen) -> None:
    """Names of the list above."""
    for use, paths in seen.uses:
        parts = paths[-1].split(".")
        above = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        name = next((one for one in above if one in _BY_NAME), None)
        if name is not None:
            seen.refuse(use.node, name, _BY_NAME[name])


def _builtins(seen: _Seen) -> None:
    """`input()`, and names that IPython adds."""
    for use in seen.module.names.uses if seen.mentions(*_BUILTINS) else ():
        if use.name in _BUILTINS and use.name not in seen.bound and use.scope.holder(use.name).kind == "module":
            seen.refuse(use.node, use.name, _BUILTINS[use.name])


def _loop_methods(seen: _Seen) -> None:
    """`loop.run_until_complete(…)`, whichever way the loop came."""
    for call in seen.calls if seen.mentions(*_LOOP_METHODS) else ():
        if isinstance(call.func, ast.Attribute) and call.func.attr in _LOOP_METHODS:
            seen.refuse(call, call.func.attr, _LOOP)


def _streams(seen: _Seen) -> None:
    """`sys.stdout` may be written to; it has no buffer, no descriptor, no settings."""
    if not seen.mentions("stdout", "stderr"):
        return
    handed = {id(one): (call, "") for call in seen.calls for one in call.args}
    handed |= {id(one.value): (call, one.arg or "") for call in seen.calls for one in call.keywords}
    for use, paths in seen.uses:
        stream = next((path for path in paths if path in ("sys.stdout", "sys.stderr")), None)
        if stream is None:
            continue
        after = paths[paths.index(stream) + 1 :]
        node = use.attributes[-1] if use.attributes else use.node
        if after:
            if after[0].rpartition(".")[2] not in _STREAM_USES:
                seen.refuse(use.node, after[0], _STREAM)
        elif not isinstance(node.ctx, ast.Load) or not _may_take_stream(handed.get(id(node)), seen):
            seen.refuse(use.node, stream, _STREAM)


def _may_take_stream(handed: tuple[ast.Call, str] | None, seen: _Seen) -> bool:
    """Whether a call that a stream is handed to only writes to it: somebody else's, and none that starts a process."""
    if handed is None:
        return False
    call, keyword = handed
    name = seen.called(call)
    is_ours = not name and isinstance(call.func, ast.Name)
    asks = name in {"getattr", "hasattr", "setattr"} or name.startswith(("subprocess", "os.", "io."))
    return keyword in {"file", "stream"} or not (is_ours or asks or keyword in {"stdout", "stderr"})


def _descriptors(seen: _Seen) -> None:
    """The kernel's descriptors 0, 1 and 2 are not the notebook's streams."""
    for call in seen.calls:
        name = seen.called(call)
        first = call.args[0] if call.args else None
        if name in _ON_DESCRIPTORS and isinstance(first, ast.Constant) and first.value in (0, 1, 2):
            seen.refuse(call, f"{name}({first.value})", _STREAM)
    for node in seen.module.names.nodes if seen.mentions("/dev/", "/proc/") else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _DEVICES.match(node.value):
            seen.refuse(node, node.value[:40], _STREAM)


def _start_methods(seen: _Seen) -> None:
    """Processes may be forked; a start method that is not written down may be another one."""
    for call in seen.calls if seen.mentions("context", "start_", "spawn", "strategy") else ():
        name = seen.called(call)
        if name in _SPAWNERS:
            seen.refuse(call, name, _SPAWN)
        if name.endswith((".get_context", ".set_start_method")) and "multiprocessing" in name:
            chosen = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "method")]
            if not all(_is_fork(one) for one in chosen):
                seen.refuse(call, name, _SPAWN)
        for keyword in call.keywords:
            judged = isinstance(keyword.value, ast.Call)  # by itself
            if keyword.arg in _CONTEXTS and not judged and not _is_fork(keyword.value):
                seen.refuse(call, f"{keyword.arg}={ast.unparse(keyword.value)[:40]}", _SPAWN)
            if keyword.arg == "strategy" and isinstance(keyword.value, ast.Constant):
                if re.match(r"(?:ddp|fsdp|deepspeed)(?!_notebook|_fork)", str(keyword.value.value)):
                    seen.refuse(call, f"strategy={keyword.value.value!r}", _SPAWN)


def _is_fork(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("fork", None)


def _module_filters(seen: _Seen) -> None:
    """A filter of warnings that looks at the name of a module: in a notebook all of ours are `__main__`."""
    for call in seen.calls if seen.mentions("warn") else ():
        name = seen.called(call)
        if name == "warnings.filterwarnings" and (
            len(call.args) > 3 or any(one.arg == "module" for one in call.keywords)
        ):
            seen.refuse(call, "a filter of warnings by module", _NOTEBOOK)
        deprecated = any("DeprecationWarning" in ast.unparse(one) for one in [*call.args[1:], *_values(call)])
        if name == "warnings.warn" and deprecated and not seen.module.is_main:
            seen.refuse(call, "a DeprecationWarning, which Python shows of __main__ only,", _NOTEBOOK)


def _values(call: ast.Call) -> list[ast.expr]:
    return [one.value for one in call.keywords]


# -- of somebody else's scripts --------------------------------------------------------------------------------------


def _left_running(seen: _Seen) -> None:
    """A process waits at its end for threads and pools; a notebook does not."""
    waits = seen.has_attribute("join", "shutdown", "result", "as_completed", "wait")
    for use, paths in seen.uses:
        if "threading.Thread" in paths and not seen.has_attribute("join"):
            seen.refuse(use.node, "threading.Thread without join", _END)
    entered = {
        id(item.context_expr)
        for node in seen.module.names.nodes
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
    }
    for call in seen.calls:
        if seen.called(call) in _POOLS and id(call) not in entered and not waits:
            seen.refuse(call, f"{seen.called(call)} without shutdown", _END)


def _left_open(seen: _Seen) -> None:
    """A file that only the end of the process closes is not whole before."""
    module_level = {id(one.node) for bindings in seen.module.names.module.bound.values() for one in bindings}
    for node in seen.module.names.nodes:
        if not (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name)
        ):
            continue
        target, call = node.targets[0], node.value
        if id(target) not in module_level or seen.called(call) not in _OPENERS or _only_reads(call):
            continue
        closed = any(
            use.name == target.id and use.attributes and use.attributes[0].attr == "close"
            for use in seen.module.names.uses
        )
        if not closed:
            seen.refuse(node, f"{target.id}, a file that nobody closes,", _END)


def _only_reads(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "mode")]
    return not any(not isinstance(one, ast.Constant) or set(str(one.value)) & set("wax+") for one in modes)


def _pickles(seen: _Seen) -> None:
    """A class is pickled by the name of its module: of a script alone that is `__main__` both ways."""
    if seen.module.is_main and not seen.ours():
        return
    for use, paths in seen.uses:
        if name := next((one for path in paths for one in (path, path.split(".")[0]) if one in _PICKLES), ""):
            seen.refuse(use.node, name, _PICKLE)
    for call in seen.calls:
        if seen.called(call) == "torch.save" and call.args and not _is_plain(call.args[0], seen):
            seen.refuse(call, f"torch.save({ast.unparse(call.args[0])[:40]}, …)", _PICKLE)


def _is_plain(node: ast.expr, seen: _Seen, asked: int = 0) -> bool:
    """Whether an expression is seen to hold no object of a class of ours: tensors, a state, a dictionary of such."""
    match node:
        case ast.Dict():
            return not any(_is_model(one, seen) for one in node.values)
        case ast.DictComp() | ast.Constant() | ast.List() | ast.Tuple() | ast.ListComp() | ast.Subscript():
            return True
        case ast.Call():
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            return method in {"state_dict", "cpu", "detach", "clone"} or bool(seen.called(node))
        case ast.Name() if asked < 3:
            values = _assigned(node.id, seen)
            return bool(values) and all(_is_plain(one, seen, asked + 1) for one in values)
    return False


def _is_model(node: ast.expr, seen: _Seen) -> bool:
    """Whether a value of a dictionary may be an object of ours: it is called so, or a class of ours has made it."""
    if isinstance(node, ast.Name):
        made = [one.func for one in _assigned(node.id, seen) if isinstance(one, ast.Call)]
        return node.id in _MODELS or any(isinstance(one, ast.Name) and one.id in seen.bound for one in made)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in seen.bound and id(node.func) not in seen.meant
    return isinstance(node, ast.Attribute) and node.attr in _MODELS


def _assigned(name: str, seen: _Seen) -> list[ast.expr]:
    """Return all that a module assigns to a name anywhere."""
    return [
        node.value
        for node in seen.module.names.nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id == name
    ]


def _printed_otherwise(seen: _Seen) -> None:
    """Log lines that show where they come from, and what a notebook displays instead of printing it."""
    for node in seen.module.names.nodes if seen.mentions("%(") else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := _LOG_PLACES.search(node.value)):
            seen.refuse(node, found[0], _PLACE)
    for use, paths in seen.uses:
        if paths[0].split(".")[0] == "loguru":
            seen.refuse(use.node, "loguru, whose lines show where they come from,", _PLACE)
        if paths[0].split(".")[0] == "rich" or paths[0].startswith("tqdm.notebook"):
            seen.refuse(use.node, f"{paths[0]}, which does not print but display,", _NOTEBOOK)


def _search_path(seen: _Seen) -> None:
    """`sys.path[0]` is the script's folder for a process, and none for a kernel."""
    for node in seen.module.names.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            if seen.meant.get(id(node.value)) == "sys.path":
                seen.refuse(node, "an element of sys.path", _NOTEBOOK)


def _figures(seen: _Seen) -> None:
    """A kernel closes the figures of a cell when that ends."""
    if not seen.module.is_main:
        return
    lines = [
        use.node.lineno
        for use, paths in seen.uses
        if use.scope.kind == "module" and paths[-1].startswith(("matplotlib.pyplot.", "pylab."))
    ]
    cuts = [one.site.node.lineno for one in seen.ours() if one.site.top_level]
    cuts += [comment.line for comment in seen.module.comments if re.match(r"#\s*%%", comment.text)]
    if any(min(lines) < cut <= max(lines) for cut in cuts if lines):
        reason = ("the kernel closes a cell's figures at its end", "draw and save a figure in one cell")
        first = next(use.node for use, _ in seen.uses if use.node.lineno == min(lines))
        seen.refuse(first, "a figure that several cells draw", reason)


RULES: tuple[Callable[[_Seen], None], ...] = (
    _listed,
    _builtins,
    _loop_methods,
    _streams,
    _descriptors,
    _start_methods,
    _module_filters,
)
FOREIGN_RULES: tuple[Callable[[_Seen], None], ...] = (
    _left_running,
    _left_open,
    _pickles,
    _printed_otherwise,
    _search_path,
    _figures,
)
