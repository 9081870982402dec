"""The result of an evaluation: of independent samples, verified where that is asked for."""

from typing import Any

from keras_smooth.checks import truth
from keras_smooth.differentiation import independence
from keras_smooth.differentiation.evaluation import Evaluation
from keras_smooth.differentiation.verification import certified


def result(evaluation: Evaluation, verify: bool) -> Any:
    """Returns what an evaluation gives, verified where that is asked for.

    Raises:
        ValueError: If the model does not treat each sample by itself.
    """
    independence.check(evaluation.traces, evaluation.points, evaluation.order)
    verify = truth("`verify`", verify)
    values = certified(evaluation) if verify else evaluation.result()
    evaluation.warn_of_tapes()
    return values
