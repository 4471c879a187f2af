"""Notebook habits: `!` and `%` lines, `%%` cells, `?` and pasted prompts, without IPython.

`syntax` turns them into Python before a cell is analysed; `calls` is what that Python calls. May import the display
package, and what looks into the namespace; nothing here sends frames itself or knows how cells are run.
"""
