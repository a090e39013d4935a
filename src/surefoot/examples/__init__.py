"""Scores example by example: written by every task, compared between models."""

from surefoot.examples._compare import compare_examples as compare_examples
from surefoot.examples._examples import write_examples as write_examples
