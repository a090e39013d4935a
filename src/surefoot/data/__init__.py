"""Data: sources of public registries and of the user, pictures, and the splits they are trained and tested on."""

from surefoot.data._archive import read_members as read_members
from surefoot.data._classification import ClassificationSet as ClassificationSet
from surefoot.data._concepts import LOCALES as LOCALES
from surefoot.data._drawings import Drawings as Drawings
from surefoot.data._drawn_tasks import GROUPS as GROUPS
from surefoot.data._drawn_tasks import DrawnTask as DrawnTask
from surefoot.data._folder import ImageFolder as ImageFolder
from surefoot.data._folder import image_folder as image_folder
from surefoot.data._pairs import TrainingPairs as TrainingPairs
from surefoot.data._photos import count_images as count_images
from surefoot.data._photos import load_images as load_images
from surefoot.data._sheet import Section as Section
from surefoot.data._sheet import contact_sheet_html as contact_sheet_html
from surefoot.data._sheet import contact_sheet_png as contact_sheet_png
from surefoot.data._sheet import credits_of as credits_of
from surefoot.data._sheet import folder_section as folder_section
from surefoot.data._sheet import png_of as png_of
from surefoot.data._sheet import png_uri as png_uri
from surefoot.data._sheet import sample_pictures as sample_pictures
from surefoot.data._sheet import style_sections as style_sections
from surefoot.data._source import Source as Source
from surefoot.data._source import cache_directory as cache_directory
from surefoot.data._source import fetch as fetch
from surefoot.data._source import is_cached as is_cached
from surefoot.data._source import sha256_of as sha256_of
from surefoot.data._styles import EMOJIBASE as EMOJIBASE
from surefoot.data._styles import STYLES as STYLES
from surefoot.data._styles import Style as Style
from surefoot.data._tabular import FileTable as FileTable
from surefoot.data._tabular import PublicTable as PublicTable
from surefoot.data._tabular import Table as Table
from surefoot.data._tabular import file_table as file_table
from surefoot.data._tabular_design import PARTS as PARTS
from surefoot.data._tabular_design import Design as Design
from surefoot.data._tabular_design import Part as Part
from surefoot.data._tabular_design import Parts as Parts
from surefoot.data._tabular_design import open_design as open_design
from surefoot.data._tabular_predictions import read_predictions as read_predictions
from surefoot.data._tabular_raw import RAW_RECIPES as RAW_RECIPES
from surefoot.data._tabular_raw import RawTable as RawTable
from surefoot.data._tabular_raw import raw_table as raw_table
from surefoot.data._tabular_read import TableArrays as TableArrays
from surefoot.data._tabular_read import open_table as open_table
from surefoot.data._tabular_recipes import RECIPES as RECIPES
from surefoot.data._texts import TEXT_STYLES as TEXT_STYLES
from surefoot.data._texts import TextPart as TextPart
from surefoot.data._texts import TextSet as TextSet
from surefoot.data._texts import TextStyle as TextStyle
from surefoot.data._texts import read_texts as read_texts
from surefoot.data._typographic import Typographic as Typographic

__all__ = [
    "EMOJIBASE",
    "GROUPS",
    "LOCALES",
    "PARTS",
    "RAW_RECIPES",
    "RECIPES",
    "STYLES",
    "TEXT_STYLES",
    "ClassificationSet",
    "Design",
    "Drawings",
    "DrawnTask",
    "FileTable",
    "ImageFolder",
    "Part",
    "Parts",
    "PublicTable",
    "RawTable",
    "Section",
    "Source",
    "Style",
    "Table",
    "TableArrays",
    "TextPart",
    "TextSet",
    "TextStyle",
    "TrainingPairs",
    "Typographic",
    "cache_directory",
    "contact_sheet_html",
    "contact_sheet_png",
    "count_images",
    "credits_of",
    "fetch",
    "file_table",
    "folder_section",
    "image_folder",
    "is_cached",
    "load_images",
    "open_design",
    "open_table",
    "png_of",
    "png_uri",
    "raw_table",
    "read_members",
    "read_predictions",
    "read_texts",
    "sample_pictures",
    "sha256_of",
    "style_sections",
]
