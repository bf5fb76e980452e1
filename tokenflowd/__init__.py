"""TokenFlow: a local daemon that compresses prompts, routes them and remembers them."""

import os

__version__ = "0.1.0"

# Read when ONNX Runtime is imported, whoever does. Without it 1.32 notes an identifier of the
# machine in the user's cache, and sends what it saw to its makers, past --offline.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
