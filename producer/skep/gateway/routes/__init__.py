"""The calls of the gateway, one module for each kind of thing.

A route checks the token's permission, calls the client, and returns what the client returned. Errors become problem
documents in `app`. Imports everything of the gateway except `app` and `server`.
"""
