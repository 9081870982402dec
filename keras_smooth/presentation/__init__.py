"""How results and warnings are shown; knows none of them.

figures.py    curves over exact curves, errors over iterations
tables.py     a result as a table: in print and in a notebook
warn.py       warnings, at the line of the user's code
"""
