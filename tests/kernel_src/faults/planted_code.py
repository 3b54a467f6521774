"""Code that is planted into the built notebook: it spoils what a worker computes."""

GRAMS = """
def planted(self, number, model, view, healthy=BatchWork.values):
    {body}
BatchWork.values = planted
"""


def grams(body: str) -> str:
    return GRAMS.format(body="\n    ".join(body.strip().splitlines()))


def mark(what: str) -> str:
    """A file that says that it has happened."""
    return f"Path(f'{{working_folder()}}/planted-{what}')"


WHITE = "bool((self.pictures[0] == 255).all((1, 2, 3)).any())"
# A net of a fold is brought to a device; `nets` holds those that were, in this worker.
TO_THE_DEVICE = """
nets = []
def planted(self, *some, healthy=torch.nn.Module.to, **more):
    if isinstance(self, TargetsNet) and some:
        nets.append(self)
        {body}
    return healthy(self, *some, **more)
torch.nn.Module.to = planted
"""
TWO_DEVICES = 'check_device = lambda: DeviceReport(kind="cpu", name="CPU", count=2, half=False)\n'


def before_grams(body: str) -> str:
    return grams(f"{body}\nreturn healthy(self, number, model, view)")


def before_moving(body: str) -> str:
    return TO_THE_DEVICE.format(body="\n        ".join(body.strip().splitlines()))


def once(then: str, when: str) -> str:
    return before_grams(f"if {when} and not {mark('once')}.exists():\n    {mark('once')}.touch()\n    {then}")
