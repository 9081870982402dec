"""How results, warnings and hints are shown; knows none of them.

figures.py       curves over exact curves, errors over iterations
notebook.py      the notebook that runs this process, if one does
other_names.py   what functions and arguments of other packages are called here
picture.py       a figure that shows itself
svg.py           small curves for a page, by chart.svg
tables.py        a result as a table: in print and, by table.html, in a notebook
templates.py     texts of Jinja templates
warn.py          warnings, at the line of the user's code
"""
