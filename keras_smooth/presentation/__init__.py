"""Figures, tables, templates and warnings, which know nothing of the results that they show.

counts.py        counts in words, such as "1 row" and "2 rows"
figures.py       figures of curves with exact curves, and of errors over iterations
notebook.py      the notebook that runs this process, if one does
other_names.py   the names that functions and arguments of other packages have here
picture.py       a figure that shows itself
svg.py           small curves for a page, by chart.svg
tables.py        a result as a table: in print and, by table.html, in a notebook
templates.py     texts from Jinja templates
warn.py          warnings, at the line of the user's code
"""
