"""Image-text pairs: from a web crawl to a filtered, tagged, searchable set.

A stage's output is one directory: parts (`part-00000.parquet` ...) and `manifest.json`, written last. Nothing
vanishes: a row that a rule drops stays, with its `reasons`. `pairs_from_tables` makes such a directory of your tables.
"""

from surefoot.pairs._deduplicate import DuplicateRules as DuplicateRules
from surefoot.pairs._deduplicate import deduplicate as deduplicate
from surefoot.pairs._download._options import Layout as Layout
from surefoot.pairs._download._options import Manners as Manners
from surefoot.pairs._download._options import PictureForm as PictureForm
from surefoot.pairs._download._options import Resize as Resize
from surefoot.pairs._download._outcomes import failing_hosts as failing_hosts
from surefoot.pairs._download._outcomes import outcomes as outcomes
from surefoot.pairs._download._run import Download as Download
from surefoot.pairs._download._run import download as download
from surefoot.pairs._extract._candidates import extract as extract
from surefoot.pairs._extract._rules import CANDIDATE_RULES as CANDIDATE_RULES
from surefoot.pairs._extract._rules import CandidateRules as CandidateRules
from surefoot.pairs._search._embed import embed_pairs as embed_pairs
from surefoot.pairs._search._encoders import CONSE as CONSE
from surefoot.pairs._search._encoders import PairEncoder as PairEncoder
from surefoot.pairs._search._encoders import conse_encoder as conse_encoder
from surefoot.pairs._search._encoders import openclip_encoder as openclip_encoder
from surefoot.pairs._search._index import INDEX as INDEX
from surefoot.pairs._search._index import IndexDescription as IndexDescription
from surefoot.pairs._search._index import IndexKind as IndexKind
from surefoot.pairs._search._index import Recall as Recall
from surefoot.pairs._search._index import build_index as build_index
from surefoot.pairs._search._index import read_index as read_index
from surefoot.pairs._search._query import FoundPair as FoundPair
from surefoot.pairs._search._query import PairIndex as PairIndex
from surefoot.pairs._search._query import open_index as open_index
from surefoot.pairs._search._query import query_vector as query_vector
from surefoot.pairs._search._query import search_pairs as search_pairs
from surefoot.pairs._search._steps import Embed as Embed
from surefoot.pairs._search._steps import Index as Index
from surefoot.pairs._search._where import subset as subset
from surefoot.pairs._stages._columns import PAIR_TYPES as PAIR_TYPES
from surefoot.pairs._stages._columns import pair_schema as pair_schema
from surefoot.pairs._stages._columns import uid_of as uid_of
from surefoot.pairs._stages._manifest import Manifest as Manifest
from surefoot.pairs._stages._manifest import Part as Part
from surefoot.pairs._stages._manifest import Recipe as Recipe
from surefoot.pairs._stages._manifest import Source as Source
from surefoot.pairs._stages._manifest import read_manifest as read_manifest
from surefoot.pairs._stages._manifest import sources_in as sources_in
from surefoot.pairs._stages._manifest import sources_of as sources_of
from surefoot.pairs._stages._tables import PairColumns as PairColumns
from surefoot.pairs._stages._tables import pairs_directory as pairs_directory
from surefoot.pairs._stages._tables import pairs_from_tables as pairs_from_tables
from surefoot.pairs._stages._work import MakePart as MakePart
from surefoot.pairs._stages._work import make_parts as make_parts
from surefoot.pairs._steps import Deduplicate as Deduplicate
from surefoot.pairs._steps import Extract as Extract
from surefoot.pairs._steps import rules_text as rules_text
from surefoot.pairs._tag._heads import Head as Head
from surefoot.pairs._tag._heads import read_head as read_head
from surefoot.pairs._tag._heads import write_head as write_head
from surefoot.pairs._tag._steps import Tag as Tag
from surefoot.pairs._tag._tags import EmbeddedRows as EmbeddedRows
from surefoot.pairs._tag._tags import Tagger as Tagger
from surefoot.pairs._tag._tags import head_taggers as head_taggers
from surefoot.pairs._tag._tags import prompt_head as prompt_head
from surefoot.pairs._tag._tags import read_taggers as read_taggers
from surefoot.pairs._tag._tags import tag_pairs as tag_pairs
from surefoot.pairs._tag._train import train_head as train_head
