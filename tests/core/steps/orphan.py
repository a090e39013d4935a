"""A pool's process that is told to end while it is being set up."""

import os
import signal
import threading
import traceback
from typing import Any

from surefoot.core import _pools

if __name__ == "__main__":
    pool: Any = _pools._one_worker()
    threading.Thread.start = lambda thread: os.kill(os.getpid(), signal.SIGTERM)  # type: ignore[method-assign]
    try:
        pool._initializer(*pool._initargs)
    except BaseException:  # concurrent.futures shows whatever comes out of it
        traceback.print_exc()
