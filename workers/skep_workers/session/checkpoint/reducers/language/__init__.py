"""Objects of the language itself, as bytes and back: functions, classes, code, instances, references.

One kind of object in each module. A function that makes objects again has its number in `stored_names`.
"""
