"""The pages in docs/reference, made from the docstrings of what users import.

    python -m tests.tooling.api_reference           # write them
    python -m tests.tooling.api_reference --check   # exit status 1 if one is not what would be written

`names` says which page has which name, `sources` reads signatures and fields from the source, `prose` turns docstrings
into Markdown with links, and `pages` puts them together. Signatures come from the source and not from `inspect`, whose
text for annotations differs between versions of Python.

A generator such as griffe or sphinx would bring a theme or a site; these pages are read where all others are, and the
docstrings are plain text with few rules.
"""
