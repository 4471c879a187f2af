"""The notebook syntax that isn't Python: `!` and `%` lines, `%%` cells, `?` and pasted prompts, without IPython.

`syntax` translates it to Python before a cell is analysed, and that Python calls the functions in `calls`. May import
the display package and the modules that inspect the namespace. Sends no frames itself and doesn't know how cells run.
"""
