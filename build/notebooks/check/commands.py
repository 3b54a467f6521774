"""Programs that a notebook starts: `subprocess.run`, `os.system` and their kin."""

import ast
import re
from collections.abc import Iterator

from build.notebooks.check.names import Names

_STARTERS = frozenset(
    "os.system os.popen os.posix_spawn os.posix_spawnp subprocess.run subprocess.call subprocess.check_call "
    "subprocess.check_output subprocess.Popen subprocess.getoutput subprocess.getstatusoutput pty.spawn "
    "asyncio.create_subprocess_exec asyncio.create_subprocess_shell".split()
)
# Programs that fetch, and Python, which may do anything.
_FETCHING = frozenset(
    "pip pip3 pipx uv conda mamba apt apt-get aptitude dpkg yum dnf brew npm yarn wget curl aria2c lynx git git-lfs "
    "ssh scp sftp rsync ftp nc ncat telnet ping nslookup dig gsutil gcloud aws azcopy rclone kaggle hf "
    "huggingface-cli wandb gdown python python3 sh bash zsh perl ruby node".split()
)
_UNKNOWN = "…"  # a word that cannot be read
_CURE = "remove it: there is no internet on Kaggle's rerun; what is needed belongs into the image or a dataset"


def is_command(dotted: str) -> bool:
    """Tell whether a dotted name starts another program."""
    return dotted in _STARTERS or dotted.startswith(("os.exec", "os.spawn"))


def command_fault(node: ast.Call, names: Names) -> tuple[str, str] | None:
    """Judge one call that starts a program: (what, cure), or None for a plain command that fetches nothing."""
    dotted = names.dotted(node.func)
    arguments = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in ("args", "cmd", "command"))]
    words = list(_words(arguments, names)) if arguments else []
    # `ls; curl …`, `env X=1 pip …`: each word is looked at, by its file name.
    for word in words:
        program = word.rpartition("/")[2]
        if program in _FETCHING or re.fullmatch(r"(python|pip)3\.\d+", program) or "://" in word:
            return f"{dotted} starts {' '.join(words)[:60]!r}", _CURE
    if not words or words[0] == _UNKNOWN:
        return f"{dotted} starts a program that cannot be read here", "write the command as plain text, or remove it"
    return None


def _words(nodes: list[ast.expr], names: Names) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.List | ast.Tuple):
            yield from _words(node.elts, names)
        elif isinstance(node, ast.Name) and len(names.values.get(node.id, [])) == 1:
            value = names.values[node.id][0]
            yield from [_UNKNOWN] if isinstance(value, ast.Name) else _words([value], names)
        elif names.dotted(node) == "sys.executable":
            yield "python"
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield from _words([part], names)
        else:
            text = names.opening(node)
            yield from (word for word in re.split(r"[\s;|&()$`\"'<>=]+", text) if word) if text else [_UNKNOWN]
