"""BayesFlow: the velocity of flow matching, its divergence and its Laplacian."""

import bayesflow
import numpy as np
from trial import Trial, keras, keras_smooth


@keras.saving.register_keras_serializable("trial")
class Velocity(keras.Model):
    """The velocity, a function of x, time and conditions, as a model."""

    def __init__(self, network, **arguments):
        super().__init__(**arguments)
        self.network = network

    def call(self, inputs):
        return self.network.velocity(inputs["x"], inputs["time"], inputs["conditions"])

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


def flow(norm: str | None) -> None:
    """Tests flow matching; the default norm of BayesFlow is Keras' LayerNormalization."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    subnet = {"widths": (8, 8), "norm": norm}
    network = bayesflow.networks.FlowMatching(subnet_kwargs=subnet)
    network.build((None, 2), (None, 3))
    x = {
        "x": rng.normal(size=(4, 2)),
        "time": np.full((4, 1), 0.3),
        "conditions": rng.normal(size=(4, 3)),
    }
    model = Velocity(network)
    model(x)
    divergence = bayesflow.utils.jacobian_trace(
        lambda z: network.velocity(z, x["time"], x["conditions"]),
        keras.ops.convert_to_tensor(x["x"]),
    )
    trial = Trial(f"`FlowMatching`, norm={norm!r}")
    trial.compare(
        "divergence, against BayesFlow's `jacobian_trace`",
        lambda: np.trace(keras_smooth.jacobian(model, x, wrt="x"), axis1=1, axis2=2),
        divergence,
    )
    trial.everything(model, x, "x")
    trial.print()


def main() -> None:
    keras.config.set_floatx("float64")
    flow("layer")
    flow(None)


if __name__ == "__main__":
    main()
