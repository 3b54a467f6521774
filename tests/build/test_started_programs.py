"""Whatever the kit starts, it starts so that nothing from outside becomes an option or a line for a shell.

Every call in `build/` that starts a program is read from its syntax tree. The rule, word by word of a list: a literal;
`sys.executable`; a value that a function `checked_…` returns; one that is glued to its option (`f"-S{…}"`) or stands
behind an option that takes one; or anything behind `--` or `--end-of-options`. git gets one of these two always. What
follows Python's own `-m module` or script is that program's to read. All else is named in `KNOWN`, with the reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTS = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "startfile", "posix_spawn", "posix_spawnp"}
    | {f"{verb}{end}" for verb in ("exec", "spawn") for end in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "pty": {"spawn"},
}
TAKE_A_VALUE = {"-C", "-L", "-e", "--requirement"}
ENDS = {"--", "--end-of-options"}
KNOWN = {
    ("build/adopt/wheels.py", "*words"): "pip's, put together there: files of ours, a name that begins with a letter",
    ("build/environment.py", "python"): "the environment's own, by its place below the kit",
    ("build/environment.py", "venv"): "a folder of the kit",
    ("build/environment.py", "version"): "behind -c: two lines of ours",
    ("build/installation/installer.py", "python"): "the environment's own",
    ("build/installation/installer.py", "uv"): "the one on the path",
    ("build/installation/installer.py", "*words"): "literals, and the environment's own Python",
    ("build/installation/resolution.py", "uv"): "the one that its lock has brought",
    ("build/installation/resolution.py", "*words"): "literals",
    ("build/installation/resolution.py", "*version"): "behind its option: two numbers of the kit",
    ("build/new/package.py", "name"): "behind -m: made by naming.py, an identifier of Python",
    ("build/run/session.py", "str(script.resolve())"): "behind Python: a script of the kit",
    ("build/run/session.py", "_CHOSEN"): "behind -c: lines of ours",
    ("build/run/session.py", "facts().competition"): "behind them: the name of a package that is here",
    ("build/run/small_demo.py", "command"): "the kit's own verb, with folders that the demo has made",
    ("build/kaggle/queue.py", "sys.executable"): "Python itself",
    ("build/kaggle/queue.py", "command"): "the kit's own verb, with words of the kit",
    ("build/make.py", "sys.executable"): "Python itself",
    (
        "build/make.py",
        "[sys.executable, '-m', module, *given]",
    ): "a module of ours; values behind = or --",
    ("build/run/rehearse/launcher.py", "plan['argv']"): "written by sandbox.py for this very start",
    ("build/run/rehearse/launcher.py", "plan['argv'][0]"): "the same",
    ("build/run/rehearse/sandbox.py", "*words"): "Python, or bubblewrap with words of the kit, and a script of the kit",
    ("build/run/rehearse/sandbox.py", "str(plan_file)"): "behind that script: a file of ours",
    ("build/stitch/run_files.py", "*command"): "in a notebook: its own script, and the words of its parameters cell",
    ("build/sync/watch.py", "_ASK"): "a literal",
    ("build/sync/lab.py", "command"): "JupyterLab's own, put together in prepare() and run() from slugs of the kit",
    ("build/sync/lab.py", "command[0]"): "the same",
    ("build/sync/merging.py", "LABELS[0]"): "a literal, behind -L",
}


def faults(name: str, text: str) -> list[str]:
    """Return what is wrong with the calls of one module that start programs."""
    tree = ast.parse(text)
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module in STARTS
            and {one.name for one in node.names} & (STARTS[node.module] | {"*"})
        ):
            found.append(f"{name}:{node.lineno}: write `{node.module}.…` where it is called, so that it is seen here")
    for call in starts(tree):
        at = f"{name}:{call.lineno}"
        if any(keyword.arg == "shell" for keyword in call.keywords):
            found.append(f"{at}: a shell")
        if not call.args or not isinstance(call.args[0], ast.List):
            found += [f"{at}: {word}, not a list" for word in unknown(name, call.args[:2] or [ast.Name("nothing")])]
            continue
        words = call.args[0].elts
        if git := isinstance(words[0], ast.Constant) and words[0].value == "git":
            if not any(isinstance(word, ast.Constant) and word.value in ENDS for word in words):
                found.append(f"{at}: git without -- or --end-of-options")
        elif isinstance(words[0], ast.Constant):
            found.append(f"{at}: {words[0].value!r} is another program than git and Python: say in KNOWN why")
        found += [f"{at}: {word} may be anything" for word in unknown(name, loose(words))]
        program = ast.unparse(words[0])
        assert git or program in {"sys.executable", "python"} or (name, program) in KNOWN, f"{at}: which program?"
    return found


def starts(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls that start a program; of a function that only hands a command on, its callers instead."""
    doors = set()
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        names = {argument.arg for argument in function.args.args}
        for call in filter(is_start, ast.walk(function)):
            assert isinstance(call, ast.Call)
            if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in names:
                doors.add((function.name, call.lineno))
    for node in ast.walk(tree):
        if is_start(node) and node.lineno not in {line for _, line in doors}:  # type: ignore[attr-defined]
            yield node  # type: ignore[misc]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {door for door, _ in doors}:
                yield node


def is_start(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    return isinstance(owner, ast.Name) and node.func.attr in STARTS.get(owner.id, set())


def loose(words: list[ast.expr]) -> Iterator[ast.expr]:
    """Yield the words that the rule does not cover."""
    before = ""
    for word in words:
        value = word.value if isinstance(word, ast.Constant) and isinstance(word.value, str) else ""
        if before in ENDS:
            return
        checked = isinstance(word, ast.Call) and ast.unparse(word.func).rpartition(".")[2].startswith("checked_")
        glued = isinstance(word, ast.JoinedStr) and isinstance(word.values[0], ast.Constant)
        glued = glued and str(word.values[0].value).startswith("-")  # type: ignore[attr-defined]
        ours = ast.unparse(word) == "sys.executable"
        if not (value or checked or glued or ours or before in TAKE_A_VALUE):
            yield word
        before = value


def unknown(name: str, words: Iterator[ast.expr] | list[ast.expr]) -> list[str]:
    return [text for word in words if (name, text := ast.unparse(word)) not in KNOWN]


def test_nothing_from_outside_becomes_an_option_of_a_program_or_a_line_of_a_shell() -> None:
    modules = sorted((ROOT / "build").rglob("*.py"))
    found = [one for path in modules for one in faults(path.relative_to(ROOT).as_posix(), path.read_text())]
    assert found == []


def test_the_rule_sees_the_calls_that_it_is_about() -> None:
    calls = [call for path in (ROOT / "build").rglob("*.py") for call in starts(ast.parse(path.read_text()))]
    assert len([call for call in calls if "'git'" in ast.unparse(call)]) >= 5


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['git', 'grep', '-l', sha256, '--', 'notebooks'])",
        "subprocess.run(['git', 'grep', '-l', '-e', sha256, commit, '--', 'notebooks'])",
        "subprocess.run(['git', 'show', checked_commit(commit)])",
        "subprocess.run(['git', *words, '--', path])",
        "subprocess.run(['git', 'log', f'{commit}', '--'])",
        "subprocess.run(f'git show {commit}')",
        "subprocess.run(['git', 'show', '--'], shell=True)",
        "subprocess.check_output(command)",
        "os.system('ls')",
        "os.execvp('git', words)",
        "from subprocess import run",
        "def door(command):\n    subprocess.run(command)\ndoor(['git', 'show', name])",
    ],
)
def test_what_breaks_the_rule_is_seen(line: str) -> None:
    assert faults("build/x.py", line)


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(['git', '-C', root, 'grep', '-e', sha256, checked_commit(commit), '--', 'notebooks'])",
        "subprocess.run(['git', 'log', f'-S{sha256}', '--', path])",
        "subprocess.run(['git', 'show', '--end-of-options', f'{commit}:./{path}'])",
        "def door(command):\n    subprocess.run(command)\ndoor(['git', 'show', '--', name])",
        "subprocess.run([sys.executable, '-m', 'venv'])",
    ],
)
def test_what_keeps_it_passes(line: str) -> None:
    assert faults("build/x.py", line) == []
