"""One fit: from an objective to the end of its iterations.

program.py             objective and minimizer, compiled once for each model
fit_problem.py         a model and its data in the form that a minimizer needs
optimization_run.py    iterations, restarts and the result
checkpoint.py          files of a run, validated when they are read, and how a fit continues
atomic_files.py        files that are written atomically
"""
