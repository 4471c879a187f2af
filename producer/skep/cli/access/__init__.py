"""Commands about who may use a shard: its tenants with their quotas, and the tokens of its gateway.

The commands import what they need when they run, so that the other commands start fast.
"""
