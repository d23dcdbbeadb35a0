"""``import tensorrt`` on a machine without a GPU: becomes the bindings that `harness.load` returns."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
try:
    import harness
finally:
    sys.path.pop()

sys.modules[__name__] = harness.load()
