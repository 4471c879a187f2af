"""What separates sessions from each other and from the machine, as clients, workers and the proxy name it.

Tiers of the sandbox, networks and their hosts, limits, tenants and their quotas: the values, their checks and their
order. Imports `errors` and `limits` of this package only. Applies nothing: the workers and Lua scripts do that.
"""
