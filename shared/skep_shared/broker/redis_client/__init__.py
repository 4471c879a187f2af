"""redis-py as skep uses it: connections, the URL, errors of the server, cancelled reads.

Imports nothing else of the broker. Every client and connection is made in `connection`.
"""
