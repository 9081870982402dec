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
points.py             the inputs that move and those that are held
engines.py            the engines by name, and the choice for a task
tasks.py              what can be computed, by a function of each engine
evaluation.py         one evaluation: task, engine, batches, jets where tapes lose
results.py            its result: of independent samples, verified if requested, with advice
tapes.py              the engine "tape": nested GradientTape, the reference
lost.py               derivatives that tapes do not find: known zeros and lost ones
taylor.py             the engine "jet": directions in, partial derivatives out
traces.py             the operations of a model at points
declared_gradients.py gradients that a model declares and that differ from the true ones
rules.py              rules of users
exact_values.py       exact values to compare with, from arrays, tables or functions
differences.py        derivatives from values of the model alone
agreements.py         the comparison of numbers with differences, and its limits
verification.py       verify=True: the numbers of an engine compared with differences, in float64 too
derivative_targets.py targets of derivatives, by name and in the shapes of the outputs
derivative_model.py   DerivativeModel: y, y', y'' as outputs to train on

An operator validates its arguments into `Points`, evaluates an `Evaluation` by an engine, and
gives the result its shape.
"""
