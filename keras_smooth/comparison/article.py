"""The results of the article from which the experiment comes, for comparison.

References:
    ryuoujisinta, 2019, "Activation functions reconsidered: differentiability" (in Japanese), Qiita,
    https://qiita.com/ryuoujisinta/items/6aae36e7e50001ec9cf9.
"""

PROBLEM = "gaussian"
ARCHITECTURE = "8x20"

# Mean squared errors of y, y', y'' after full-batch BFGS (sigmoid: Adam).
MSE = {
    "relu": (1.4e-3, 5.2e-2, 9.6e-1),
    "tanh": (7.5e-4, 4.8e-3, 3.0e-2),
    "sigmoid": (1.2e-3, 1.0e-2, 6.6e-2),
    "softplus": (4.7e-4, 3.5e-3, 2.0e-2),
    "selu": (7.7e-4, 3.1e-2, 1.9e0),
    "elu": (1.2e-3, 1.3e-2, 4.7e-1),
}
ACTIVATIONS = tuple(MSE)
