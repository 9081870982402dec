"""The result of an evaluation: of independent samples, verified where that is asked for."""

from typing import Any

from keras_smooth.checks import truth
from keras_smooth.differentiation import independence
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.verification import certified
from keras_smooth.models.checked_inputs import explained_batch


def result(evaluation: Evaluation, verify: bool) -> Any:
    """Returns what an evaluation gives, verified where that is asked for.

    Raises:
        ValueError: If the model does not treat each sample by itself, or is built for
            batches of another size.
    """
    verify = truth("`verify`", verify)
    num_samples = evaluation.points.flat[0].shape[0]
    with explained_batch(evaluation.model, num_samples, evaluation.batch_size):
        independence.check(evaluation.traces, evaluation.points, evaluation.order)
        values = certified(evaluation) if verify else evaluation.result()
        evaluation.warn_of_tapes()
        return values
