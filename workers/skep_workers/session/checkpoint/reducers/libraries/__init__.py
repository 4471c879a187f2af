"""Objects of third-party libraries, as bytes and back; used only where the session has imported the library itself.

One library, or one kind of its objects, in each module. A function that makes objects again has its number in
`stored_names`.
"""
