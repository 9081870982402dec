"""kgcnn: energies and forces of SchNet, of a batch of molecules that is one graph."""

import numpy as np
from kgcnn.literature.Schnet import make_model
from kgcnn.models.force import EnergyForceModel
from trial import Trial, keras, keras_smooth

ATOMS, MOLECULES = 4, 3
ACTIVATION = {"class_name": "function", "config": "kgcnn>shifted_softplus"}


def schnet():
    """Returns SchNet for padded molecules, as in the documentation, but smaller."""
    inputs = [
        {"shape": (ATOMS,), "name": "node_number", "dtype": "int64"},
        {"shape": (ATOMS, 3), "name": "node_coordinates", "dtype": "float64"},
        {"shape": (ATOMS * (ATOMS - 1), 2), "name": "edge_indices", "dtype": "int64"},
        {"shape": (), "name": "total_nodes", "dtype": "int64"},
        {"shape": (), "name": "total_edges", "dtype": "int64"},
    ]
    return make_model(
        inputs=inputs,
        input_tensor_type="padded",
        output_tensor_type="padded",
        depth=2,
        interaction_args={
            "units": 8,
            "use_bias": True,
            "activation": ACTIVATION,
            "cfconv_pool": "scatter_sum",
        },
        gauss_args={"bins": 6, "distance": 4, "offset": 0.0, "sigma": 0.8},
        last_mlp={"use_bias": [True], "units": [8], "activation": [ACTIVATION]},
        output_mlp={"use_bias": [True], "units": [1], "activation": ["linear"]},
    )


def main() -> None:
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    pairs = [(i, j) for i in range(ATOMS) for j in range(ATOMS) if i != j]
    corners = 1.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    x = [
        np.tile([6, 1, 1, 8], (MOLECULES, 1)),
        corners + 0.1 * rng.normal(size=(MOLECULES, ATOMS, 3)),
        np.tile(pairs, (MOLECULES, 1, 1)),
        np.full(MOLECULES, ATOMS),
        np.full(MOLECULES, len(pairs)),
    ]
    model = schnet()
    trial = Trial("`Schnet`, padded molecules")
    forces = EnergyForceModel(
        model_energy=model,
        coordinate_input=1,
        output_squeeze_states=True,
        name="forces",
        outputs={
            "energy": {"name": "energy", "shape": (1,)},
            "force": {"name": "force", "shape": (ATOMS, 3)},
        },
    )
    theirs = forces([keras.ops.convert_to_tensor(value) for value in x])["force"]
    trial.compare(
        "forces by `gradient`, against kgcnn's `EnergyForceModel`",
        lambda: -keras_smooth.gradient(model, x, wrt=1),
        theirs,
    )
    trial.everything(model, x, 1)
    trial.print()


if __name__ == "__main__":
    main()
