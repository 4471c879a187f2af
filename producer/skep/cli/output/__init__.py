"""The output of commands: tables, events and failures, in colour on a terminal, as plain text or JSON elsewhere.

Imports the client's types. Never connects to Redis and never decides what a command does.
"""
