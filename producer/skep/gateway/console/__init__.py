"""The console: the web page that the gateway serves, for people who look rather than call.

`static_files` reads the page's files from the package once, `page_policy` has the headers that bind a browser to them,
and `routes` serves both. The page itself is in `static/`: ES modules,
without a build, that use the HTTP API like any other client. May import everything of the gateway except `app`,
`server` and the modules in `routes` that have calls.
"""
