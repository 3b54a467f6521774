"""What a real kernel has otherwise than a process is refused inline, and in files mode does what the script does."""

import pytest

from build.stitch.as_files import stitch_files
from tests.build.stitch.real_kernel import run_notebook, run_script

EVENT_LOOP = """
    import asyncio


    async def one(n):
        await asyncio.sleep(0)
        return n * 2


    def all_of(ns):
        async def gather():
            return await asyncio.gather(*[one(n) for n in ns])

        return asyncio.run(gather())
    """
SPAWN = """
    from multiprocessing import get_context


    def square(n):
        return n * n


    def squares(ns):
        with get_context("spawn").Pool(2) as pool:
            return pool.map(square, ns)
    """
ARGUMENTS = """
    import argparse


    def options(argv=None):
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=3)
        return parser.parse_args(argv)
    """
SCRIPTS = {  # all of them were accepted once, and wrong in a kernel
    "an event loop": (
        {"main.py": "from p.m import all_of\n\nprint(all_of([1, 2, 3]))\n", "p/m.py": EVENT_LOOP},
        ["p/m.py:13: asyncio.run"],
    ),
    "a stream's settings": (
        {
            "main.py": "from p.m import say\n\nsay('hello')\n",
            "p/m.py": "import sys\n\nsys.stdout.reconfigure(line_buffering=True)\n\ndef say(text):\n    print(text)\n",
        },
        ["p/m.py:3: sys.stdout.reconfigure"],
    ),
    "a stream's bytes": (
        {
            "main.py": "from p.m import raw\n\nraw(b'abc\\n')\n",
            "p/m.py": "import sys\n\n\ndef raw(data: bytes):\n    sys.stdout.buffer.write(data)\n",
        },
        ["p/m.py:5: sys.stdout.buffer"],
    ),
    "spawned processes": (
        {
            "main.py": "from p.m import squares\n\nif __name__ == '__main__':\n    print(squares([1, 2, 3]))\n",
            "p/m.py": SPAWN,
        },
        ["p/m.py:9: multiprocessing.get_context"],
    ),
    "the end of the process": (
        {"main.py": "import atexit\n\natexit.register(print, 'end')\nprint('begin')\n"},
        ["main.py:3: atexit"],
    ),
    "signals": (
        {"main.py": "import os, signal\n\nsignal.signal(14, lambda *_: print('got'))\nos.kill(os.getpid(), 14)\n"},
        ["main.py:3: signal.signal", "main.py:4: os.kill"],
    ),
    "standard input": ({"main.py": "print(list(open(0)))\n"}, ["main.py:1: open(0)"]),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_that_a_kernel_would_trip_over_is_refused_inline_and_right_as_files(package, tmp_path, kind):
    files, expected = SCRIPTS[kind]
    made = package(files)
    reasons = made.refusals()
    assert [reason.split(" is not the same")[0] for reason in reasons] == expected
    assert all(" → " in reason for reason in reasons)
    script = run_script(made.root / "main.py", made.root)
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert (ran.code, ran.printed) == (script.code, script.printed) and script.code == 0, ran.errors


def test_arguments_that_default_to_those_of_the_process_are_the_scripts_in_files_mode(package, tmp_path):
    made = package({"main.py": "from p.m import options\n\nprint(options().epochs)\n", "p/m.py": ARGUMENTS})
    for arguments, printed in (("", "3\n"), ("--epochs 5", "5\n")):
        ran = run_notebook(
            stitch_files(made.root / "main.py", made.root, arguments=arguments), tmp_path / f"run{printed[0]}"
        )
        assert (ran.code, ran.printed) == (0, printed)


def refused(package, text: str, **more) -> list[str]:
    """What of a script is refused, as somebody else's, with a module of ours beside it."""
    made = package({"main.py": f"import p.m\n{text}\n", "p/m.py": "", **more})
    return [reason.split(" is not the same")[0].split(": ", 1)[1] for reason in made.refusals(arguments="")]


REFUSED = [
    (
        "import asyncio as a\na.new_event_loop().run_until_complete(x())",
        ["asyncio.new_event_loop", "run_until_complete"],
    ),
    ("from asyncio import run as go\ngo(x())", ["asyncio.run"]),
    ("def f():\n    import anyio\n    anyio.run(x)", ["anyio.run"]),
    ("import sys\nsys.stderr.fileno()", ["sys.stderr.fileno"]),
    ("from sys import stdout as out\nout.encoding", ["sys.stdout.encoding"]),
    ("import sys\nsys.stdout = open('log.txt', 'w')", ["sys.stdout"]),
    ("import sys\nclass Tee:\n    def __init__(self):\n        self.out = sys.stdout", ["sys.stdout"]),
    ("import sys\nif hasattr(sys.stdout, 'buffer'):\n    pass", ["sys.stdout"]),
    ("import subprocess, sys\nsubprocess.run(['ls'], stdout=sys.stdout)", ["sys.stdout"]),
    ("import os\nos.dup2(1, 2)", ["os.dup2"]),
    ("import os\nos.write(1, b'x')", ["os.write(1)"]),
    ("open('/dev/stdin')", ["/dev/stdin"]),
    ("name = input()", ["input"]),
    ("import sys\nfor line in sys.stdin:\n    pass", ["sys.stdin"]),
    ("import getpass\ngetpass.getpass()", ["getpass"]),
    ("breakpoint()", ["breakpoint"]),
    ("import os\npid = os.fork()", ["os.fork"]),
    ("import os\nos._exit(0)", ["os._exit"]),
    ("import faulthandler\nfaulthandler.enable()", ["faulthandler"]),
    ("import sys\nsys.excepthook = print", ["sys.excepthook"]),
    ("import torch.multiprocessing as mp\nmp.spawn(f)", ["torch.multiprocessing.spawn"]),
    ("import multiprocessing as mp\nmp.set_start_method(method)", ["multiprocessing.set_start_method"]),
    (
        "from torch.utils.data import DataLoader\nDataLoader(x, multiprocessing_context='spawn')",
        ["multiprocessing_context='spawn'"],
    ),
    (
        "from concurrent.futures import ProcessPoolExecutor as P\nwith P(mp_context=how) as pool:\n    pass",
        ["mp_context=how"],
    ),
    ("from joblib import Parallel, delayed\nParallel(n_jobs=2)(x)", ["joblib.Parallel"]),
    ("Trainer(strategy='ddp')", ["strategy='ddp'"]),
    ("import threading\nthreading.Thread(target=f).start()", ["threading.Thread without join"]),
    ("log = open('log.txt', 'w')\nlog.write('x')", ["log, a file that nobody closes,"]),
    ("import warnings\nwarnings.filterwarnings('error', module='p.m')", ["a filter of warnings by module"]),
    ("import logging\nlogging.basicConfig(format='%(filename)s %(message)s')", ["%(filename)"]),
    ("import pickle\npickle.dumps(x)", ["pickle.dumps"]),
    ("import hydra\n@hydra.main(config_path='conf')\ndef f(c):\n    pass", ["hydra"]),
    ("from pytorch_lightning.cli import LightningCLI\nLightningCLI()", ["pytorch_lightning.cli"]),
    ("from rich import print\nprint(1)", ["rich.print, which does not print but display,"]),
    ("import torch\ntorch.save(model, 'm.pt')", ["torch.save(model, …)"]),
    ("import torch\ntorch.save({'model': model}, 'm.pt')", ["torch.save({'model': model}, …)"]),
    ("try:\n    get_ipython()\nexcept NameError:\n    pass", ["get_ipython"]),
    ("import sys\nHERE = sys.path[0]", ["an element of sys.path"]),
    (
        "import matplotlib.pyplot as plt\nplt.plot([1])\n# %%\nplt.savefig('a.png')",
        ["a figure that several cells draw"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[text for text, _ in REFUSED])
def test_whatever_the_kernel_has_otherwise_is_refused(package, text, expected):
    assert refused(package, text) == expected


ALLOWED = [
    "import sys\nsys.stdout.write('x')\nsys.stdout.flush()\nprint('y', file=sys.stderr)",
    "import logging, sys\nlogging.basicConfig(stream=sys.stdout)\nlogging.StreamHandler(sys.stdout)",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
    "from multiprocessing import get_context\nget_context('fork')\nget_context()",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n    pass",
    "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
    "f = open('a.txt', 'w')\nf.close()\ng = open(name)\nwith open('b.txt', 'w') as h:\n    pass",
    "import warnings\nwarnings.filterwarnings('ignore')\nwarnings.simplefilter('ignore')",
    "import torch\nstate = {'m': net.state_dict(), 'epoch': 1}\ntorch.save(state, 'm.pt')",
    "import torch\ntorch.save(net.state_dict(), 'm.pt')",
    "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('a.png')",
    "import os, subprocess\nos.getpid()\nsubprocess.run(['ls'], stdin=subprocess.DEVNULL)",
    "def input():\n    return 1\nprint(input())",
    "class A:\n    stdin = 1\nprint(A().stdin)",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_what_works_in_a_kernel_is_left_alone(package, text):
    package({"main.py": f"import p.m\n{text}\n", "p/m.py": ""}).stitch(arguments="")


TABLE = """
    import os

    if os.environ.get("NEVER"):
        import pandas
    from p.m import frame

    print(frame())
    """


def test_a_wide_table_is_printed_as_in_a_process_whenever_pandas_comes(package, tmp_path):
    text = "def frame():\n    import pandas as pd\n\n    return pd.DataFrame({f'column_{n}': [n] for n in range(20)})\n"
    made = package({"main.py": TABLE, "p/m.py": text})
    ran = run_notebook(made.stitch(arguments=""), tmp_path / "run", fresh=True)
    assert (ran.code, ran.printed) == (0, run_script(made.root / "main.py", made.root).printed), ran.errors
    assert "..." in ran.printed


def test_a_script_alone_may_pickle_its_classes_because_they_are_mains_both_ways(package):
    text = "import pickle\n\n\nclass A:\n    pass\n\n\nprint(pickle.dumps(A()))\n"
    package({"main.py": text}).stitch(arguments="")
    assert package({"main.py": "from p.m import f\n", "p/m.py": f"{text}\ndef f():\n    pass\n"}).refusals(arguments="")
