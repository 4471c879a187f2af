"""The HTTP gateway: who may call it, its routes, and what it sends by itself.

`tokens` decides who a caller is and what they may do. `webhooks` sends events to the URLs that tenants have named. Both
know nothing of routes. `streams` sends events to followers, `routes` has the calls, one module for each kind of thing,
and `server` puts them together and serves them. They may import the client (`skep`) and `skep_shared`; nothing of the
client imports this folder, except the command line. Needs the extra `gateway`.
"""
