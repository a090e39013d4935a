"""Image-text pairs from the command line: `surefoot pairs extract`, `deduplicate`, `download`."""

from cyclopts import App

pairs = App(name="pairs", help="Image-text pairs: from a web crawl to a filtered, searchable set.")
pairs.command(
    "surefoot.cli._pairs._candidates:extract",
    name="extract",
    help="Find the pictures of web pages with their texts: candidates, and for each one dropped the reasons.\n\n"
    "It prints rows, kept rows, rows a reason and faults of the files. Run it again to go on after a stop.\n\n"
    "Example: surefoot pairs extract crawl-1.warc.gz crawl-2.warc.wat.gz --recipe laion5b --out candidates",
)
pairs.command(
    "surefoot.cli._pairs._candidates:deduplicate",
    name="deduplicate",
    help="Keep the first of rows that are the same in a key, or near each other; the others stay, with a reason.\n\n"
    "Example: surefoot pairs deduplicate candidates --by url,url+text --out unique",
)
pairs.command(
    "surefoot.cli._pairs._download:download",
    name="download",
    help="Download the pictures of candidates, politely, and keep a row for every URL with how it ended.\n\n"
    "Run it again to go on after a stop, or to ask again what can still succeed. Only public addresses are asked.\n\n"
    "Example: surefoot pairs download urls.parquet --out pictures --contact https://example.org/crawl",
)
