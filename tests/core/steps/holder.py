"""Holds a lease until it is killed: holder.py LEASE. Says 'held', or 'refused' when another one holds it."""

import sys
import time
from pathlib import Path

from surefoot.core._lease import HeldError, lease

try:
    with lease(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(600)
except HeldError:
    print("refused", flush=True)
