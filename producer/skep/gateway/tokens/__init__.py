"""Who a caller of the gateway is, and what they may do: tokens, tokens of an identity provider, logins, signed links.

`access` has the types that the routes use. Nothing here knows a route, and only `identity_provider` needs a package of
the extra `gateway`: the command line creates and lists tokens without it.
"""
