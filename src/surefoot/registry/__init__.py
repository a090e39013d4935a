"""Pinned packages of public registries: fetched, verified, and read without running them.

Begin with `Package`, `fetch` and `read_members`.
"""

from surefoot.registry._archive import read_members as read_members
from surefoot.registry._package import Package as Package
from surefoot.registry._package import cache_directory as cache_directory
from surefoot.registry._package import fetch as fetch
from surefoot.registry._package import is_cached as is_cached
from surefoot.registry._package import sha256_of as sha256_of
from surefoot.registry._records import CREDIT as CREDIT
from surefoot.registry._records import read_json as read_json
from surefoot.registry._records import write_json as write_json
