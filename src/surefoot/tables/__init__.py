"""Tables of users, read in one place: any common format into DuckDB or into memory, with every trap named.

`load_table` reads a file (or stdin) into a table of a DuckDB connection: CSV and other delimited text, JSON, JSON
Lines, Parquet, Arrow and Feather, Excel, Markdown; `.gz` is unpacked. Texts are trimmed, the words of `MISSING` are
NULL, a column name that stands twice is refused, blank lines and empty last columns are left out. Then `type_columns`
makes numbers of the columns that hold numbers, as people write them too ("3,2", "1,300,000", "3.2 ± 0.1", "10^18"),
and remarks on what it did. `parse_numbers` does the same for a list in memory. Raises `SurefootError` with file, row
and column, and what to do.
"""

from surefoot.tables._load import LARGEST_BYTES as LARGEST_BYTES
from surefoot.tables._load import LoadedTable as LoadedTable
from surefoot.tables._load import check_column as check_column
from surefoot.tables._load import column_names as column_names
from surefoot.tables._load import database as database
from surefoot.tables._load import is_number as is_number
from surefoot.tables._load import literal as literal
from surefoot.tables._load import load_table as load_table
from surefoot.tables._load import parquet_note as parquet_note
from surefoot.tables._load import quote as quote
from surefoot.tables._numbers import MISSING as MISSING
from surefoot.tables._numbers import Numbers as Numbers
from surefoot.tables._numbers import parse_numbers as parse_numbers
from surefoot.tables._remarks import Remark as Remark
from surefoot.tables._remarks import alike as alike
from surefoot.tables._remarks import rows_text as rows_text
from surefoot.tables._types import remarks_on as remarks_on
from surefoot.tables._types import type_columns as type_columns
