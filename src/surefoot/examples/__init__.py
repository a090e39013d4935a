"""Scores example by example: written by every task, compared between models.

Begin with `write_examples` (in a task), `read_examples` and `compare_examples`.
"""

from surefoot.examples._compare import Compared as Compared
from surefoot.examples._compare import Comparison as Comparison
from surefoot.examples._compare import compare_examples as compare_examples
from surefoot.examples._compare import stored_examples as stored_examples
from surefoot.examples._examples import EXAMPLES as EXAMPLES
from surefoot.examples._examples import Asked as Asked
from surefoot.examples._examples import ExampleScores as ExampleScores
from surefoot.examples._examples import read_column as read_column
from surefoot.examples._examples import read_examples as read_examples
from surefoot.examples._examples import write_examples as write_examples
