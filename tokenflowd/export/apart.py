"""Runs a step in a process of its own, which gives back all memory that the step took.

PyTorch, the exporter and the quantiser each hold a model several times over; in one process that
adds up to 13 GB for BART-large (measured).
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from tokenflowd.errors import ExportError

P = ParamSpec("P")
R = TypeVar("R")

# Imported once, by the server that the steps are forked from.
_PRELOADED = ["optimum.exporters.onnx", "onnxruntime.transformers.optimizer", "transformers"]


def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(*args, **kwargs)`, all of which must pickle. Ends with the caller.

    Raises ImportError where a package is missing, and ExportError for whatever else goes wrong, a
    killed process too: the tools raise types of all kinds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, args, kwargs), daemon=True)
    process.start()
    sender.close()
    try:
        error, result = receiver.recv()
    except EOFError:
        raise ExportError(
            "the system ended a step of the export, most likely for want of memory: a checkpoint "
            "needs about five times its size"
        ) from None
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise error
    answer: R = result
    return answer


def _send(
    sender: Connection, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> None:
    # The caller hears Ctrl+C, too, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sender.send((None, function(*args, **kwargs)))
    except ImportError as error:
        sender.send((error, None))
    except Exception as error:
        sender.send((ExportError(f"{type(error).__name__}: {error}"), None))
