"""Watch the rehearsed notebook from inside its own process; Python imports a module of this name at every start.

The kernel of a rehearsal, and every Python it starts, has this folder on its PYTHONPATH. The files here are therefore
loaded by their bare names and use the standard library only.
"""

import ctypes
import faulthandler
import json
import os
import signal

# {"events": path, "stacks": path, "refuse": bool, "device": "real" or "p100"}
_SETTINGS = os.environ.get("KIT_GUARD")

if _SETTINGS:
    import kit_device  # type: ignore[import-not-found]
    import kit_network  # type: ignore[import-not-found]

    _settings = json.loads(_SETTINGS)
    kit_network.install(_settings["events"], refuse=_settings["refuse"])
    if _settings["device"] == "p100":
        kit_device.install()
    # Where the code was when a limit ended it, or compiled code crashed, goes to a file that outlives this process.
    _stacks = open(_settings["stacks"], "a")  # faulthandler wants it open for ever
    faulthandler.enable(_stacks)
    faulthandler.register(signal.SIGUSR1, _stacks)
    if _settings["refuse"]:
        # No pid namespace holds us here: ask the kernel to end this process with the one that started it.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
