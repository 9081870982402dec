"""Forces and Hessians of a learned energy: minimum, stiffness, saddle point
=========================================================================

A network learns the energy of a particle in a plane from energies and forces. Then the network
predicts what the data do not contain: the position of a minimum, the Hessian, and whether a
point is a minimum or a saddle point.
"""

# %%
# The energy
# ----------
#
# The energy has two minima, at x = -1 and x = 1, and a saddle point between them, whose energy
# is higher by 1. In practice the samples come from simulations; here they come from a formula.
import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_smooth


def energy(x):
    along, across = x[:, :1], x[:, 1:]
    return (along**2 - 1.0) ** 2 + 2.0 * (across - 0.3 * along) ** 2


generator = np.random.default_rng(0)
x = generator.uniform(-1.5, 1.5, (400, 2))

# %%
# Energies and forces
# -------------------
#
# ``DerivativeModel`` has the outputs ``y`` and ``dy``, each with its own loss (Sobolev
# training). With the gradient, each sample has three numbers instead of one.
# ``DerivativeModel`` shares its weights with ``net``.
keras.utils.set_random_seed(0)
net = keras.Sequential([keras.Input((2,), dtype="float64")])
for _ in range(2):
    net.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
net.add(keras_smooth.Dense(1, dtype="float64"))

model = keras_smooth.DerivativeModel(net, order=1)
model.compile(loss="mse")
targets = {"y": energy(x), "dy": keras_smooth.gradient(energy, x)}
history = keras_smooth.fit_lbfgs(model, x, targets, epochs=1500, verbose=0)
history.result

# %%
# The force is minus the gradient, one row for each point:
some = np.array([[0.5, 0.0], [-1.2, 0.4]])
force = -keras_smooth.gradient(net, some)
print(force.numpy())
print(-keras_smooth.gradient(energy, some).numpy())

# %%
# Find the minimum
# ----------------
#
# Newton's method uses the gradient and the Hessian of the network. The exact minimum is at
# (1, 0.3).
place = np.array([[0.8, 0.0]])
for _ in range(20):
    slope = keras_smooth.gradient(net, place).numpy().reshape(2)
    hessian = keras_smooth.hessian(net, place).numpy().reshape(2, 2)
    place = place - np.linalg.solve(hessian, slope)
print("minimum", place)

# %%
# The eigenvalues of the Hessian are the stiffness. At the saddle point, (0, 0), one of them is
# negative: the energy decreases along its eigenvector. ``verify=True`` checks that the Hessian
# is that of the network. The data have no second derivatives, so that it is also compared with
# the exact one.
places = np.concatenate([place, [[0.0, 0.0]]])
hessians = keras_smooth.hessian(net, places, verify=True)
exact = keras_smooth.hessian(energy, np.array([[1.0, 0.3], [0.0, 0.0]]))
for name, one, other in zip(("minimum", "saddle point"), hessians[:, 0], exact[:, 0]):
    print(f"{name}: {np.linalg.eigvalsh(one)}, exact {np.linalg.eigvalsh(other)}")
hessians.verification

# %%
# The energy of the network with its forces:
axis = np.linspace(-1.5, 1.5, 81)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
coarse = np.stack(np.meshgrid(axis[::8], axis[::8]), axis=-1).reshape(-1, 2)
pull = -keras_smooth.gradient(net, coarse).numpy().reshape(-1, 2)
pull /= np.linalg.norm(pull, axis=1, keepdims=True)
figure, panel = plt.subplots(figsize=(6, 5), layout="constrained")
levels = panel.contourf(
    axis,
    axis,
    np.reshape(net(grid), (81, 81)),
    levels=np.linspace(0.0, 4.0, 17),
    extend="max",
)
figure.colorbar(levels, label="energy")
panel.quiver(*coarse.T, *pull.T, color="w", scale=30)
panel.plot(*place.T, "C1o", label="minimum")
panel.plot(0.0, 0.0, "C3s", label="saddle point")
panel.set(xlabel="x", ylabel="y")
legend = panel.legend()

# %%
# Next: :doc:`/gallery/vibrations` computes the frequency of a molecule, and :doc:`/derivatives`
# has the cost of Hessians and Laplacians with many inputs.
