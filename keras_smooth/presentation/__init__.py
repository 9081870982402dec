"""Figures, tables, templates and warnings, which do not depend on the results that they show.

counts.py        counts in words, such as "1 row" and "2 rows"
figures.py       figures of curves with exact curves, and of errors over iterations
notebook.py      the IPython notebook in which this process runs, if any
other_names.py   equivalents of functions and arguments of other packages
picture.py       a figure that notebooks and windows show
svg.py           small charts of curves for a page, from chart.svg
tables.py        a result as a table: in print and, from table.html, in a notebook
templates.py     texts from Jinja templates
warn.py          warnings, at the line of the user's code
"""
