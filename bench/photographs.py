"""The full-size photographs that decoding is measured on: the real one, where it is at hand, and painted ones."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAINTED_AT = ROOT / "out" / "bench" / "painted"
PAINTED = 4  # 2000 x 1000 px, quality 90; 0.75 to 1.1 MB each, against 0.49 MB of the real one
REAL = ROOT.parent / "shared" / "data" / "photos" / "ID1088965591.jpg"  # as Kaggle serves them; never committed

_PAINT = """
import sys
from pathlib import Path
from PIL import Image
from build.demo.labels import draw_quadrats
from build.demo.painter import paint
folder, count = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number, quadrat in enumerate(draw_quadrats(20, 10, 0)[:count]):
    Image.fromarray(paint(quadrat, 0)).save(folder / f"{number}.jpg", quality=90)
"""


def painted_photographs() -> list[Path]:
    """Return the painted photographs, made once, in a process of their own: painting leaves OpenCV's seed changed."""
    paths = [PAINTED_AT / f"{number}.jpg" for number in range(PAINTED)]
    if not all(path.is_file() for path in paths):
        subprocess.run([sys.executable, "-c", _PAINT, str(PAINTED_AT), str(PAINTED)], cwd=ROOT, check=True)
    return paths


def real_photographs() -> list[Path]:
    """Return the real photograph, or nothing where it is not at hand."""
    return [REAL] if REAL.is_file() else []
