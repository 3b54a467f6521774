"""What nobody has seen of the live site yet: each unknown, why it matters, and the stage of `make preflight` that asks.

One place. docs/first-real-hour.md has its tables from here (tests/build/kaggle/test_unknowns.py writes them), `make
preflight STAGE=list` prints it, and an answer is kept under the unknown's name (answers.py).

Seconds, minutes and megabytes are estimates from how long such things are said to take: nothing here was measured on
the live site.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the preflight: what it does on the site, and what that costs."""

    name: str
    does: str  # continues "this stage …"
    seconds: int  # until it is done, most of it waiting
    gpu_minutes: int = 0  # of the 30 hours a week
    submissions: int = 0  # of the day's five
    upload_mb: int = 0
    first: str = ""  # what has to be done before it
    asks_always: bool = False  # also what is settled: it costs nothing, or only reads what is there

    @property
    def command(self) -> str:
        """What a person types."""
        return f"make preflight STAGE={self.name}"

    @property
    def cost(self) -> str:
        """The cost in words."""
        time = f"{self.seconds} s" if self.seconds < 120 else f"{self.seconds // 60} minutes"
        parts = [
            f"about {time}",
            f"{self.gpu_minutes} GPU minutes" if self.gpu_minutes else "no GPU time",
            f"{self.submissions} submission" if self.submissions else "no submission",
        ]
        return ", ".join([*parts, *([f"{self.upload_mb} MB sent"] if self.upload_mb else [])])


STAGES: tuple[Stage, ...] = (  # the cheapest first
    Stage(name="account", does="asks the site eight questions and changes nothing", seconds=20, asks_always=True),
    Stage(
        name="upload",
        does="makes a private dataset …-preflight-files of two small files, then changes one of them",
        seconds=300,
        upload_mb=8,
    ),
    Stage(
        name="log",
        does="runs the preflight notebook without a GPU, lets it print a line every 5 s, and reads its log meanwhile",
        seconds=420,
    ),
    Stage(
        name="image",
        does="runs the preflight notebook on two T4s and compares what is there with what the kit assumes",
        seconds=300,
        gpu_minutes=5,
        asks_always=True,
    ),
    Stage(
        name="gpus",
        does="times the networks of v1, v5 and v8 there, with random weights, on one T4 and on both at once",
        seconds=420,
        gpu_minutes=7,
    ),
    Stage(
        name="submission",
        does="pushes the demo's inference, submits it and waits for the score",
        seconds=1800,
        gpu_minutes=10,
        submissions=1,
        first="make demo",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """One thing that is assumed and was never seen."""

    name: str  # of its answer, if a stage keeps one
    question: str
    matters: str  # what goes wrong in the kit where the answer is another than assumed
    stage: str = ""  # empty: no stage settles it
    command: str = ""  # where no stage does; empty: no command settles it
    cost: str = ""  # of that command
    kept: str = ""  # where that command leaves the answer


ANSWERS_PLACE = "out/push/answers.json"
UNKNOWNS: tuple[Unknown, ...] = (
    Unknown(
        name="rules",
        question="Does the site list the competition's files to this account?",
        matters="403 means that the rules are not accepted; `make data` and every push stop",
        stage="account",
    ),
    Unknown(
        name="gpu_quota",
        question="Does it say how many GPU hours are used and allowed, and when they come back?",
        matters="`doctor` and `status` count on Saturday 00:00 UTC where it says nothing",
        stage="account",
    ),
    Unknown(
        name="submissions_left",
        question="Does it say how many submissions are left today?",
        matters="a push warns before the day's limit is hit only where it does",
        stage="account",
    ),
    Unknown(
        name="submission_list",
        question="Can the list of submissions be read, and in which words are their states?",
        matters="a submission is found again by its description; one that cannot be found stops the push",
        stage="account",
    ),
    Unknown(
        name="absent_kernel",
        question="With which HTTP code does it answer for a notebook that does not exist?",
        matters="403 and 404 are read as “not there”; any other code would stop the first push",
        stage="account",
    ),
    Unknown(
        name="absent_dataset",
        question="With which HTTP code does it answer for a dataset that does not exist?",
        matters="the same, for the first upload of weights",
        stage="account",
    ),
    Unknown(
        name="upload_resume",
        question="After a connection that broke, does the store say how much it has, and take the rest?",
        matters="an upload of gigabytes would begin at the first byte after each break",
        stage="upload",
    ),
    Unknown(
        name="upload_ready",
        question="Through which states does a new dataset go, and how long until every file is listed?",
        matters="a push waits for READY and for every file; too short a limit stops it",
        stage="upload",
    ),
    Unknown(
        name="upload_token_twice",
        question="May the token of a file that is in one version be named in the next one?",
        matters="if so, a version of five folds of which one changed could send one file",
        stage="upload",
    ),
    Unknown(
        name="upload_left_out",
        question="What becomes of a file that the next version does not name?",
        matters="the kit takes it to be gone, and therefore sends every file each time",
        stage="upload",
    ),
    Unknown(
        name="log_labels",
        question="Is the log of a version that does not exist refused?",
        matters="where it is not, a label means nothing, and each log has to be confirmed",
        stage="log",
    ),
    Unknown(
        name="log_live",
        question="Does the log come while the run goes on; when is a connection cut, where does the next begin?",
        matters="the live display shows nothing, or lines late",
        stage="log",
    ),
    Unknown(
        name="log_papermill",
        question="Does the log say which cell runs?",
        matters="otherwise the running cell is inferred from the lines",
        stage="log",
    ),
    Unknown(
        name="cpu_image",
        question="What does a notebook without a GPU find: Python, torch, mounts?",
        matters="a CPU fallback is built for the GPU's image",
        stage="log",
    ),
    Unknown(
        name="image",
        question="Python, packages, GPUs, memory, mounts and variables of the image?",
        matters="pins, imports and the layout of the mounts are assumed from published lists",
        stage="image",
    ),
    Unknown(
        name="read_back",
        question="What does it give back for accelerator, internet and privacy of a pushed notebook?",
        matters="a push compares them, and would stop over a word that is merely another",
        stage="image",
    ),
    Unknown(
        name="gpu_charge",
        question="How many GPU minutes does a run on two T4s cost: its time once, or twice?",
        matters="30 hours a week are 30 or 15 hours of training",
        stage="image",
    ),
    Unknown(
        name="t4_speed",
        question="How many FLOP/s does a T4 reach in fp16, with how much memory, and two at once?",
        matters="every projected minute is computed from 2e13 FLOP/s, and the two are taken not to slow each other",
        stage="gpus",
    ),
    Unknown(
        name="submission_cost",
        question="What do the rerun and the score take: minutes, submissions, GPU time?",
        matters="what a day and a week allow",
        stage="submission",
    ),
    Unknown(
        name="t4_training",
        question="How long does a real epoch take there, with its photographs read and augmented?",
        matters="whether V1 to V8 train within one session is not known",
        command="make push-training EXPERIMENT=v1 SET=schedule.epochs=1",
        cost="not known: that is the question; it stops itself before the session's limit",
        kept="the run's log, by make logs EXPERIMENT=v1 KERNEL=train",
    ),
    Unknown(
        name="t4_inference",
        question="How long does an inference take there, for as many photographs as the visible test has?",
        matters="the limit is 9 hours; the time for 800 photographs is computed",
        command="make push-inference EXPERIMENT=v1 SUBMIT=0",
        cost="15 minutes, 10 GPU minutes",
        kept="inference_report.json among the outputs, in out/push/outputs",
    ),
    Unknown(
        name="limits_in_words",
        question="In which words does it refuse at the session limit, a spent quota, a title in use?",
        matters="they are recognised by words; another word ends the push instead of waiting",
        kept="the message, in out/push/journal.db, when it happens",
    ),
    Unknown(
        name="settling",
        question="How long can a request whose answer was lost still take effect?",
        matters="after KIT_SETTLE_S (ten minutes) it counts as never arrived",
    ),
)


def stage_named(name: str) -> Stage | None:
    """Return the stage of this name."""
    return next((stage for stage in STAGES if stage.name == name), None)


def unknowns_of(stage: Stage) -> list[Unknown]:
    """Return what a stage settles."""
    return [unknown for unknown in UNKNOWNS if unknown.stage == stage.name]
