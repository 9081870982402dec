"""Derivatives of a model's outputs with respect to its inputs.

operators.py          derivatives, gradient, jacobian, hessian, directional
partials.py           partials: derivatives by name; plan
linear_operators.py   sums of partial derivatives: laplacian, biharmonic, any other
vector_calculus.py    divergence, curl, advection, vectors times the Hessian
estimators.py         sums from random directions, with their standard errors
coefficients.py       the coefficients of a linear operator
multi_indices.py      by which numbers of a sample a partial derivative is taken
directions.py         few directions that determine partial derivatives, with exact weights
isotropic.py          few directions for the biharmonic operator
passes.py             which directions go through a model together, and what is summed
moving_inputs.py      which of the inputs move, and in which dtype
independence.py       whether the samples of a batch influence each other
points.py             the inputs that move and those that are held
engines.py            the engines by name, and which is taken for a task
tasks.py              what can be computed, by a function of each engine
evaluation.py         one evaluation: task, engine, batches, jets where tapes lose
results.py            its result: of samples apart, verified where that is asked for
batches.py            points in batches
tapes.py              the engine "tape": nested GradientTape, the reference
taped_partials.py     the same for chosen partial derivatives
sweeps.py             sweeps back through tapes: from one order to the next
lost.py               what tapes do not find: what is 0, and what is lost
taylor.py             the engine "jet": directions in, partial derivatives out
traces.py             the operations of a model at points
declared_gradients.py gradients that a model declares, where they are others than its own
rules.py              rules of users
exact_values.py       what derivatives are compared with, from arrays, tables or functions
differences.py        derivatives from values of the model alone
in_float64.py         an evaluation once more in float64
agreements.py         how far numbers and differences agree, and what is accepted
verification.py       verify=True: the numbers of an engine against such differences
derivative_targets.py targets of derivatives, by name and in the shapes of the outputs
derivative_model.py   DerivativeModel: y, y', y'' as outputs to train on

An operator has its arguments checked into `Points`, hands an `Evaluation` to an engine, and
shapes what comes back.
"""
