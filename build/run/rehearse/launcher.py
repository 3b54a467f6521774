"""Enter the sandbox, then run one command in it; a script of the standard library only.

`sandbox.launch` runs it as `python -I -S launcher.py PLAN.json`. The plan says what to isolate; where that is nothing
(`"enter": false`: bubblewrap has done it, or it cannot be had), this process only sees to it that all it started ends
with it. What is built in namespaces ends with the last process in them, so a kill, even of the parent, leaves no mount
behind. What the host should know goes, a JSON object to a line, to the open file `plan["report"]`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import namespaces  # type: ignore[import-not-found]  # noqa: E402  beside this script

sys.path.pop(0)
SETUP_FAILED = 97  # exit status: the reason lies in the report


def main(plan: dict[str, Any]) -> int:
    """Isolate as the plan says, run its command, return the exit status as a shell would (128 + signal)."""
    os.set_inheritable(plan["report"], False)  # the notebook gets no open file of ours
    first = plan["namespace"] and plan["pid"]  # of its process ids: when it goes, the kernel kills the rest
    try:
        if plan["enter"]:
            namespaces.leave_host(plan["pid"])
        if plan["enter"] and first:
            _end_with_parent(plan["parent"])
            child = os.fork()
            if child:
                return _status(os.waitpid(child, 0)[1])
        if first:
            _end_with_parent(None)
        else:  # no namespace would take the others along: stay alive for as long as it takes to kill them
            signal.signal(signal.SIGTERM, _stop)
            _end_with_parent(plan["parent"], signal.SIGTERM)
        if plan["enter"]:
            namespaces.build_root(plan)
            namespaces.bring_up_loopback()
        if plan["namespace"]:
            namespaces.drop_privileges()
            namespaces.refuse_tracers()
    except OSError as error:
        _report(plan, error=str(error))
        os._exit(SETUP_FAILED)
    status = _run_and_reap(plan, first)
    if plan["namespace"]:
        _report(plan, refused_packets=namespaces.refused_packets())
    if first:
        os._exit(status)  # the forked child must not run its parent's exit handlers
    return status


def _report(plan: dict[str, Any], **facts: Any) -> None:
    os.write(plan["report"], (json.dumps(facts) + "\n").encode())


def _run_and_reap(plan: dict[str, Any], first: bool) -> int:
    """Run the command, and collect the exit status of whatever is orphaned meanwhile."""
    if not first:
        namespaces.adopt_orphans()
    here = os.getpid()
    child = os.fork()
    if child == 0:
        _execute(plan, here)
    try:
        while True:
            pid, status = os.wait()
            if pid == child:
                return _status(status)
    finally:
        if not first:
            _kill_children()


def _execute(plan: dict[str, Any], parent: int) -> NoReturn:
    """Become the command."""
    try:
        _end_with_parent(parent)
        os.chdir(plan["cwd"])
        _report(plan, started=True)
        os.execve(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        _report(plan, error=str(error))
    os._exit(SETUP_FAILED)


def _stop(number: int, _: object) -> NoReturn:
    """Leave by way of the `finally` that kills what still runs."""
    raise SystemExit(128 + number)


def _kill_children() -> None:
    """Kill the command and what it started: a child that is killed hands us its own children (subreaper)."""
    for _ in range(1000):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if not children:
            return
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)
        for pid in children:
            os.waitpid(int(pid), 0)


def _end_with_parent(parent: int | None, by: signal.Signals = signal.SIGKILL) -> None:
    """Ask to end with the parent, and end now if that has ended already."""
    namespaces.end_with_parent(by)
    if parent is not None and os.getppid() != parent:
        os._exit(SETUP_FAILED)


def _status(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
