"""Exceptions and warnings of user code as text: source lines and carets, without frames of the engine.

Imports `attribution` and `safeguards`. Never raises anything into user code.
"""
