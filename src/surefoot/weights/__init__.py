"""Checkpoints on disk and their arithmetic, streamed. Imports without torch."""

from surefoot.weights._checkpoint import Checkpoint as Checkpoint
from surefoot.weights._checkpoint import from_state as from_state
from surefoot.weights._checkpoint import open_checkpoint as open_checkpoint
