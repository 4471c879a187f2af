"""Webhooks: events of sessions, sent to the URLs that tenants have named, signed as Standard Webhooks describes.

`definition` is what a tenant asks for and `store` keeps it in Redis. `senders` runs one sender for each webhook that no
other process sends for. `session_changes` notices new events, a `sender` reads them, and `delivery` posts them, to
checked addresses only. Nothing here knows a route. It needs the extra `gateway`.
"""
