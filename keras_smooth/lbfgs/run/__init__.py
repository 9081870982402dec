"""One fit: from an objective to the end of its iterations.

program.py             objective and minimizer, compiled once a model
without_xla.py         a minimizer of what XLA cannot compile
fit_problem.py         a model and its data, made into what a minimizer needs, and the way back
optimization_run.py    iterations, restarts and an honest end
checkpoint.py          files of a run, checked when they are read
resume.py              what is in them, and how a fit goes on from one
atomic_files.py        files that are whole or not there
"""
