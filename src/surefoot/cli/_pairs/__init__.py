"""Image-text pairs from the command line: `surefoot pairs download`."""

from cyclopts import App

pairs = App(name="pairs", help="Image-text pairs: from a web crawl to a filtered, searchable set.")
pairs.command(
    "surefoot.cli._pairs._download:download",
    name="download",
    help="Download the pictures of candidates, politely, and keep a row for every URL with how it ended.\n\n"
    "Run it again to go on after a stop, or to ask again what can still succeed. Only public addresses are asked.\n\n"
    "Example: surefoot pairs download urls.parquet --out pictures --contact https://example.org/crawl",
)
