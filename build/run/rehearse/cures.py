"""The cure for each thing that a rehearsal catches: what a person would do next."""

import re

# The first pattern that fits an error's text (or the kind of stop) gives the cure.
_OF_ERRORS = (
    (r"Read-only file system|PermissionError.*kaggle/input", "/kaggle/input is read-only: write to /kaggle/working"),
    (
        r"no kernel image is available",
        "this is what a P100 does on Kaggle's image: set machine_shape to NvidiaTeslaT4, and let the notebook check "
        "torch.cuda.get_arch_list() and a small matmul, then fall back to the CPU if the plan fits",
    ),
    (
        r"gaierror|Name or service|name resolution|ConnectionError|ConnectTimeout|unreachable|URLError|"
        r"LocalEntryNotFoundError|Max retries exceeded|couldn't connect",
        "Kaggle cuts the network: put what it fetches into a dataset and read it from /kaggle/input",
    ),
    (
        r"(?i)sha-?256|checksum|hash (mismatch|differs)|corrupt",
        "the file is not what its manifest says: bundle the training run again (or download the dataset again)",
    ),
    (
        r"FileNotFoundError|No such file or directory",
        "attach the dataset that holds this file, or bundle it again: only what kernel-metadata.json lists is mounted",
    ),
    (r" h are left", "use a GPU that torch has kernels for (machine_shape NvidiaTeslaT4), fewer views or fewer folds"),
    (r"No such kernel|No kernel name", "the notebook needs the kernelspec python3: `make build` writes it"),
    (r"MemoryError|out of memory", "use a smaller batch or fewer workers, or load images one by one"),
    (r"ModuleNotFoundError|ImportError", "import only what Kaggle's image has: `make check` lists it"),
)
# The same for the sentences of `submission_problems`.
_OF_SUBMISSIONS = (
    (r"nothing of it is shown", "write submission.csv as a plain CSV file of its own, with write_submission"),
    (r"does not exist", "write submission.csv to /kaggle/working, a fallback before anything can go wrong"),
    (r"missing", "write one row for every sample_id of test.csv, whatever their number"),
    (r"are not in the", "take the ids from test.csv, never from a stored list"),
    (r"more than once", "write each sample_id once"),
    (r"not finite|not a number", "find where the NaN or inf arises (fp16 overflow, division by zero) and replace it"),
    (r"negative", "clip predictions at 0"),
    (r"break", "project the predictions onto the identities before writing them"),
    (r"columns|two fields", "write with kernel_src.competitions.biomass.submission.write_submission"),
)
_OF_STOPS = {
    "time": "predict with fewer folds, views or pixels, or raise --limit-s if the limit was not meant",
    "memory": "use a smaller batch or fewer workers, or raise --memory-gb if the limit was not meant",
    "killed": "if peak_rss_gb in the report is near the machine's memory, use a smaller batch or fewer workers",
}
RERUN = (
    "a rerun has another test than the public one, with another number of images: take every count and id from "
    "test.csv, never hard-code them"
)


def cure_of_error(error: str, *, rerun: bool = False) -> str:
    """Advise on the error that a notebook ended with."""
    for pattern, cure in _OF_ERRORS:
        if re.search(pattern, error):
            return cure
    return RERUN if rerun else "correct the line named above, then `make build`"


def cure_of_stop(kind: str) -> str:
    """Advise on an end that came from outside; empty for an error of the notebook's own."""
    return _OF_STOPS.get(kind, "")


def cure_of_submission(problem: str, *, rerun: bool = False) -> str:
    """Advise on one sentence of the submission's validator."""
    cure = next((cure for pattern, cure in _OF_SUBMISSIONS if re.search(pattern, problem)), "")
    if rerun and re.search(r"missing|are not in the", problem):
        return RERUN
    return cure
