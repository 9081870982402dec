"""Derivatives of a model's outputs with respect to its inputs.

operators.py          derivatives, gradient, jacobian, hessian, directional
partials.py           partials: derivatives by name; plan
linear_operators.py   sums of partial derivatives: laplacian, biharmonic, any other
vector_calculus.py    divergence, curl, advection, vectors times the Hessian
estimators.py         sums from random directions, with their standard errors
coefficients.py       the coefficients of a linear operator
multi_indices.py      partial derivatives as multi-indices
directions.py         few directions that determine partial derivatives, with exact weights
passes.py             groups of directions in one forward pass, and sums of derivatives
independence.py       whether the samples of a batch influence each other
points.py             the inputs of a model: moving ones, and those that are held fixed
engines.py            the engines by name, and the choice for a task
tasks.py              the sets of derivatives to compute, with a function of each engine
evaluation.py         one evaluation: task, engine, batches; jets if tapes lose a derivative
results.py            its result: independent samples, verified if requested, with advice
tapes.py              the engine "tape": nested GradientTape, the reference
lost.py               derivatives that tapes do not return: known zeros and lost ones
taylor.py             the engine "jet": jets along directions, and partial derivatives from them
traces.py             the operations of a model for inputs of given shapes
declared_gradients.py gradients that a model declares and that differ from the true ones
rules.py              rules of jets that users register
reference_values.py   exact values for comparison, from arrays, tables or functions
differences.py        derivatives from values of the model alone
line_values.py        values of a model on lines, in large batches if these do not change y
agreements.py         the comparison of an engine's derivatives with differences, and its limits
kinks.py              jumps of a derivative between the points
float64_evaluation.py an evaluation in float64, by a copy of the model or by its operations
verification.py       verify=True: an engine compared with differences, in float64 if possible
derivative_targets.py targets of derivatives, by name and in the shapes of the outputs
derivative_model.py   DerivativeModel: y, y', y'' as outputs to train on

An operator converts its arguments into `Points`. An `Evaluation` computes a task by an engine,
and the operator reshapes the result. Inputs move if derivatives are with respect to them.
"""
