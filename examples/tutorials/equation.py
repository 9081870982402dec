"""A PINN from nothing: Bratu's equation, solved, checked and inverted
===================================================================

Bratu's equation, u'' + k exp(u) = 0 on [0, 1] with u = 0 at both ends, is a model of a fuel
that heats itself. It is nonlinear, and its exact solution is known.
"""

# %%
# A network for u
# ---------------
#
# The network, including its ``Input``, is in float64, since the squares of the residuals become
# small. ``keras_smooth.Dense`` is a ``keras.layers.Dense`` with an initialization that suits
# the activation. It raises an error for an activation without second derivatives.
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import keras_smooth

keras.utils.set_random_seed(0)


def network():
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    model.add(keras_smooth.Dense(16, "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(16, "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    return model


# %%
# The equation
# ------------
#
# The objective is a function of the model and the points. It returns named terms, which are
# logged separately. Neither a subclass nor ``compile`` is needed.
HEAT = 1.0


def terms(model, points):
    u, _, d2u = keras_smooth.derivatives(model, points["inside"])
    return {
        "equation": ops.mean((d2u + HEAT * ops.exp(u)) ** 2),
        "ends": ops.mean(model(points["ends"]) ** 2),
    }


points = {
    "inside": np.linspace(0.0, 1.0, 50)[:, None],
    "ends": np.array([[0.0], [1.0]]),
}
model = network()
history = keras_smooth.fit_lbfgs(model, points, objective=terms, epochs=1000, verbose=0)
history.result

# %%
# Is it right?
# ------------
#
# If the derivatives are right, a small loss means that the equation holds at the 50 points.
# ``verify=True`` checks the derivatives, here at more points than those of the fit:
x = np.linspace(0.0, 1.0, 201)[:, None]
u, du, d2u = found = keras_smooth.derivatives(model, x, verify=True)
print(f"largest residual {np.abs(d2u + HEAT * np.exp(u)).max():.1e}")
found.verification

# %%
# The exact solution is -2 log(cosh(a (x - 1/2)) / cosh(a / 2)), where a is the smaller root of
# 8 a^2 = 4 k cosh(a / 2)^2.
a = 0.5
for _ in range(100):
    a = np.sqrt(HEAT / 2.0) * np.cosh(a / 2.0)
exact = -2.0 * np.log(np.cosh(a * (x - 0.5)) / np.cosh(a / 2.0))
print(f"largest error {np.abs(u - exact).max():.1e}")

# %%
# The inverse problem
# -------------------
#
# Now k is unknown, and u is measured at five points. k is a ``keras.Variable``, which is
# trained together with the weights. Another term compares u with the samples.
heat = keras.Variable(0.0, dtype="float64", name="heat")


def inverse_terms(model, points):
    u, _, d2u = keras_smooth.derivatives(model, points["inside"])
    samples = model(points["samples_x"]) - points["samples_u"]
    return {
        "equation": ops.mean((d2u + heat * ops.exp(u)) ** 2),
        "ends": ops.mean(model(points["ends"]) ** 2),
        "samples": ops.mean(samples**2),
    }


measured = {"samples_x": x[20:200:40], "samples_u": exact[20:200:40]}
other = network()
keras_smooth.fit_lbfgs(
    other,
    {**points, **measured},
    objective=inverse_terms,
    variables=[heat],
    epochs=1000,
    verbose=0,
)
print(f"k = {float(heat.numpy()):.6f}, exact {HEAT}")

# %%
# Both solutions, and their errors:
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
axes[0].plot(x, exact, "k", linewidth=4, alpha=0.25, label="exact")
axes[0].plot(x, u, "C0", label="network")
axes[0].plot(measured["samples_x"], measured["samples_u"], "C1o", label="samples")
axes[0].set(xlabel="x", title="u")
axes[0].legend()
axes[1].plot(x, u - exact, "C0", label="k given")
axes[1].plot(x, other(x) - exact, "C1", label="k found")
axes[1].set(xlabel="x", title="error of u")
legend = axes[1].legend()

# %%
# Next: :doc:`/equations` has equations in several variables, with time and with fronts.
# ``keras_smooth.Resample`` draws new points during a fit, for instance where the residual is
# large. :doc:`/several_devices` is about several GPUs and machines.
