"""The time that is over too early."""

from tests.kernel_src.faults import odd_photographs as odd
from tests.kernel_src.faults.case import Case, Told
from tests.kernel_src.faults.planted_code import WHITE, before_grams, mark
from tests.kernel_src.faults.planting import IDS, Plant

# The last photograph's last step takes until the time is over; the clock is moved, so that nobody waits for it.
TIME_IS_OVER = (
    before_grams(
        f"if (model, view) == (1, 3) and {WHITE}:\n    time.sleep(2)\n    {mark('over')}.touch()\n    time.sleep(600)"
    )
    + f"""
infer.__kwdefaults__["clock"] = lambda: time.monotonic() + (61.0 if {mark("over")}.exists() else 0.0)
"""
)
TIME = Case(
    fault="the time is over before the last step of one photograph",
    kind="time",
    plant=Plant(photographs={IDS[-1]: odd.white}, cell=TIME_IS_OVER, parameters={"PREDICT_SECONDS": 60}),
    strict="",
    strict_note="the time allowed all 8 steps for",
    rerun=(Told(part="time", what="the time allowed all 8 steps for", fallback="steps for the others"),),
    other=IDS[-1:],
)
