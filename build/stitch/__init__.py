"""A package's sources become one notebook that computes what the package computes, or a list of reasons why it cannot.

- `modules`, `scopes`: find and parse the sources; what each name means.
- `cells`, `order`: where a source is cut, and the order in which Python would run the pieces.
- `rules`, `placement`, `collisions`, `side_effects`: what a notebook would compute differently, and is refused.
- `kernel_differences`: what a kernel has otherwise than a process, and is refused, too.
- `renames`, `looked_up`, `renaming`: names of somebody else's package that clash get others, everywhere they are meant
  (`class_bodies`, `quoted_annotations`, `string_places`: where that is hard to tell).
- `data_files`: files beside the sources that are no modules, and which of them a notebook carries.
- `purity`: statements that may run at another moment; `module_context`: what one module sees.
- `aliases`, `imports`, `parameters`, `drafts`: the edits, and the proof that the text says what was meant.
- `module_names`, `set_up`: what makes a kernel look to somebody else's script like the process it is used to.
- `notebook`, `ipython_differences`: cells, bytes, and what IPython would do to them.
- `template`: a script's notebooks but for their parameters, with their chapters; `assembly`: the whole way.
- `as_files`: the other way, sources as files and a process: `reach` finds them, `file_cells` and `run_files` are the
  cells; `modes` chooses between the two.
"""

from build.stitch.assembly import compose, stitch
from build.stitch.template import Stitched

__all__ = ["Stitched", "compose", "stitch"]
