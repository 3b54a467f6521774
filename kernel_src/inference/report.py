"""## The report of an inference

What was computed, on what, how fast, and every fault with what stood in for it: `inference_report.json`, and the last
lines of the notebook.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_src.inference.inference import InferenceResult
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.faults import FaultLog
from kernel_src.runtime.files import write_json


def inference_report(
    outcome: InferenceResult,
    log: FaultLog,
    *,
    device: DeviceReport | None,
    seconds: float,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather everything as JSON can hold it; without a device nothing was computed."""
    return {
        "images": outcome.predictions.images,
        "predict_seconds": round(outcome.predict_seconds, 3),
        "seconds": round(seconds, 3),
        "device": device.as_json() if device else {},
        **settings,
        "plan": outcome.as_json(),
        "strict": log.strict,
        "faults": log.as_json(),
    }


def print_report(report: Mapping[str, Any], submission: Path, path: Path) -> None:
    """Print the report in a few lines and write it to `path`; in the rerun a full disk costs the file only.

    Raises:
        OSError: it cannot be written, outside the rerun.
    """
    try:
        write_json(path, dict(report))
    except OSError as error:
        if report["strict"]:
            raise
        print(f"FAULT disk: {path} cannot be written: {error} → these lines")
    plan, images, device = report["plan"], report["images"], report["device"].get("name", "no device")
    print(
        f"{submission}: valid; {images} photographs, {plan['passes_done']} of {plan['passes_wanted']} passes "
        f"({plan['steps']} steps each) in {report['predict_seconds']:.1f} s on {device}"
    )
    for name, precision in plan["precision"].items():
        half = precision.startswith("fp16")
        print(f"  {name}: {'fp16' if half else 'fp32 in place of fp16'}: {precision.partition(': ')[2]}")
    for steps, count in plan["photographs_by_steps"].items():
        if int(steps) < plan["steps"]:
            print(f"  {count} photographs have {steps} of {plan['steps']} steps")
    if plan["photographs_without_prediction"]:
        print(f"  {plan['photographs_without_prediction']} photographs have the training mean")
    if not report["faults"]:
        print("no faults")
    for fault in report["faults"]:
        ids = f" [{', '.join(fault['ids'])}]" if fault["ids"] else ""
        print(f"FAULT {fault['part']}: {fault['what']}{ids} → {fault['fallback']}")
