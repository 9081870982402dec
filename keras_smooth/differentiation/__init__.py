"""Derivatives of a model's outputs with respect to its inputs.

operators.py          derivatives, gradient, jacobian, hessian, laplacian, directional
points.py             what they ask of their arguments; points in batches
engines.py            the engines by name, and which is taken for a task
tapes.py              the engine "tape": nested GradientTape, the reference
taylor.py             the engine "jet": Taylor mode, one forward pass
rules/                how each layer, activation and operation carries jets
exact_values.py       what derivatives are compared with, from arrays, tables or functions
derivative_model.py   DerivativeModel: y, y', y'' as outputs to train on

Arguments are checked by `points`, `engines` chooses, an engine computes, and an operator
shapes the result.
"""
