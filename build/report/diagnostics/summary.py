"""The short of a diagnosis, as a terminal shows it."""

from build.report.diagnostics.diagnosis import Diagnostics
from kernel_src.competition.constants import TARGETS


def show(diagnostics: Diagnostics) -> None:
    """Print the short of it; the warnings last."""
    from rich.console import Console
    from rich.table import Table

    console, score = Console(), diagnostics.comparison.models[0]
    validation, worst = diagnostics.subject.validation, diagnostics.worst

    def table(title: str, *columns: str) -> Table:
        made = Table(box=None, padding=(0, 1, 0, 0), title=title)
        for i, column in enumerate(columns):
            made.add_column(column, justify="right" if i else "left", overflow="fold")
        return made

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(
        f"{diagnostics.subject.name}: official R² {score.estimate:.3f} [{score.low:.3f}, {score.high:.3f}], "
        f"{len(validation.image_ids)} images of {score.groups} groups"
    )
    targets = table("errors in g", "target", "R²", "bias", "RMSE", "share of the squared error")
    for one in diagnostics.targets:
        r2 = "–" if one.r2 is None else f"{one.r2.estimate:.3f}"
        targets.add_row(one.target, r2, f"{one.bias_g:+.2f}", f"{one.rmse_g:.1f}", f"{one.share:.0%}")
    console.print(targets)
    parts = table("", "part", "images", "bias of Total, g", "error, g", "share of the squared error")
    for kind, rows in (("", diagnostics.states), ("", diagnostics.species), ("fold ", diagnostics.folds)):
        for part in rows or ():
            bias = f"{part.bias_g[-1]:+.1f}"
            parts.add_row(f"{kind}{part.name}", str(part.images), bias, f"{part.error_g:.1f}", f"{part.share:.0%}")
    console.print(parts)
    costs = table("the worst images", "image", "of", "costliest", "predicted", "truth, g", "share")
    for image in worst.images:
        i = TARGETS.index(image.costliest)
        grams = f"{image.predicted_g[i]:.0f}", f"{image.truth_g[i]:.0f}"
        costs.add_row(image.image_id, image.group, image.costliest, *grams, f"{image.share:.1%}")
    console.print(costs)
    say(f"{len(worst.images)} images hold {worst.share:.0%} of the squared error; {worst.hold_half} hold half of it")
    for zero in diagnostics.zeros:
        say(
            f"{zero.target} is 0 on {zero.images} images: predicted {zero.predicted_g:.1f} g there on average, "
            f"at a cost of {zero.cost_r2:.4f} R²"
        )
    if diagnostics.shift is not None:
        far = [one.target for one in diagnostics.shift.targets if one.unusual]
        few = "too few to compare" if not diagnostics.shift.targets else "none is further off than visits are"
        say(f"test predictions ({diagnostics.shift.images} images): {'unlike for ' + ', '.join(far) if far else few}")
    for warning in diagnostics.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
