"""Image-text pairs from the command line: a command a stage, and search."""

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
pairs.command(
    "surefoot.cli._pairs._search:embed",
    name="embed",
    help="Embed pictures and their texts, part by part; their similarity is kept as a column.\n\n"
    "SOURCE is a folder of pictures, a table of paths and captions, .tar shards, or what pairs download wrote. Run it "
    "again to go on after a stop.\n\n"
    "Example: surefoot pairs embed pictures --model ViT-B-32 --pretrained clip.safetensors --out embedded",
)
pairs.command(
    "surefoot.cli._pairs._tag:tag",
    name="tag",
    help="Score embedded pictures and texts by heads, prompts or a function of yours: columns, no thresholds.\n\n"
    "A head or prompts give the column NAME for pictures and NAME_text for texts; no code in a head is "
    "run. Run it again to go on after a stop.\n\n"
    "Example: surefoot pairs tag embedded --head punsafe=nsfw.npz --prompts violent=q16.txt --out tagged",
)
pairs.command(
    "surefoot.cli._pairs._tag:train_head",
    name="train-head",
    help="Train a head for pairs tag on labelled rows, with its calibration on rows kept apart.\n\n"
    "Example: surefoot pairs train-head embedded --label \"unsafe = 'yes'\" --out nsfw.npz",
)
pairs.command(
    "surefoot.cli._pairs._search:subset",
    name="subset",
    help="Write the pairs for which a condition over their columns holds: thresholds after the fact.\n\n"
    "OUT is uids.npy (u8,u8, sorted, as DataComp's), rows.parquet, shard.tar (the pictures with their texts, to train "
    "on), or a folder that pairs index takes.\n\n"
    'Example: surefoot pairs subset embedded --where "similarity >= 0.28 AND width > 256" --out uids.npy',
)
pairs.command(
    "surefoot.cli._pairs._search:index",
    name="index",
    help="Index pictures for search, or add them to an index: a folder of yours, or what pairs embed wrote.\n\n"
    "What is not embedded yet is embedded first. The recall is measured on held-out queries and printed.\n\n"
    "Example: surefoot pairs index my-photos --out my-index",
)
pairs.command(
    "surefoot.cli._pairs._search:search",
    name="search",
    help="Find pictures by texts, pictures, or both, and away from other texts.\n\n"
    "--where takes a condition over the columns of a row; K results come back where there are as many.\n\n"
    'Example: surefoot pairs search my-index "a dog on a beach" --without "a cat" --where "width > 256" -k 10',
)
pairs.command(
    "surefoot.cli._pairs._serve:serve",
    name="serve",
    help="A search page of a set on this machine, and its API: words, pictures, what to keep away from, facets.\n\n"
    "It answers clients of clip-retrieval, too. Nothing is fetched from the net, and nobody else can ask.\n\n"
    "Example: surefoot pairs serve my-index --open",
)
pairs.command(
    "surefoot.cli._pairs._set:run",
    name="run",
    help="Make a set by a recipe of yours, from archives or a list of URLs to its index, with one command.\n\n"
    "RECIPE.py has study(), a Study whose Steps stand one on the other. What is made stays in the store: after a stop "
    "or a kill the same command goes on. OUT has a folder a stage.\n\n"
    "Example: surefoot pairs run recipe.py -o urls=urls.csv --out my-set",
)
pairs.command(
    "surefoot.cli._pairs._set:release",
    name="release",
    help="Write the manifest and the datasheet of a set, with statistics and figures: what was dropped, and by which "
    "rule.\n\n"
    "Example: surefoot pairs release my-set --about about.txt --out release",
)
pairs.command(
    "surefoot.cli._pairs._remove:screen",
    name="screen",
    help="Count the rows of a finished set that hash lists name; nothing of them is shown.\n\n"
    "Example: surefoot pairs screen set --hash-list known.txt",
)
pairs.command(
    "surefoot.cli._pairs._remove:remove",
    name="remove",
    help="Remove rows from every stage and index of a set, and look in all its files for what was removed.\n\n"
    "The same URL and the same bytes go everywhere. Stopped, it is finished by running it again; the exit code is 1 "
    "where anything is found.\n\n"
    "Example: surefoot pairs remove set --url https://example.org/me.jpg",
)
pairs.command(
    "surefoot.cli._pairs._remove:why",
    name="why",
    help="Say of URLs what a set knows: page, file and record, every rule with value and threshold, robots.txt, "
    "redirects, hashes, tags, and which stage dropped the row, or that it was removed.\n\n"
    "The first call after a change writes the rows by URL into SET.\n\n"
    "Example: surefoot pairs why https://example.org/me.jpg my-set",
)
