"""How results, warnings and hints are shown; knows none of them.

figures.py       curves over exact curves, errors over iterations
notebook.py      the notebook that runs this process, if one does
other_names.py   what functions and arguments of other packages are called here
picture.py       a figure that shows itself
svg.py           small curves for a page
tables.py        a result as a table: in print and in a notebook
warn.py          warnings, at the line of the user's code
"""
