"""What a user passed as data, and what of it goes together."""

import dataclasses
from typing import Any

import keras

from keras_smooth.lbfgs.class_weights import check_class_weight
from keras_smooth.lbfgs.data import ObjectivePoints
from keras_smooth.lbfgs.inputs import takes_strings
from keras_smooth.lbfgs.options import Options
from keras_smooth.lbfgs.reading import Reading, read_data, read_points, read_validation
from keras_smooth.lbfgs.terms import Terms


@dataclasses.dataclass(frozen=True)
class Passed:
    """The data of a fit as it was passed; see `fit_lbfgs`."""

    x: Any
    y: Any
    sample_weight: Any
    class_weight: Any
    validation_data: Any

    def read(
        self, model: keras.Model, terms: Terms | None, options: Options, dtype: str
    ) -> tuple[Any, Any]:
        """Returns the data and that for validation, or None.

        Args:
            model: The model.
            terms: What is minimized in place of the loss of a model, or None.
            options: Of the fit.
            dtype: What floating-point data is cast to.

        Raises:
            ValueError: If something does not go together, or as `read_data`.
            TypeError: As `read_data`.
        """
        how = Reading(dtype, options.batch_size, strings=takes_strings(model))
        if terms is not None:
            return self._points(options, how)
        check_class_weight(self.class_weight)
        weighted = dataclasses.replace(how, class_weight=self.class_weight)
        data = read_data(self.x, self.y, self.sample_weight, weighted)
        validation = read_validation(self.validation_data, how)
        if options.validation_split and validation is None:
            return data.split(options.validation_split)
        if validation is not None:
            validation = validation.in_ranks_of(data)
        return data, validation

    def _points(
        self, options: Options, how: Reading
    ) -> tuple[ObjectivePoints, ObjectivePoints | None]:
        unused = {
            "y": self.y is not None,
            "sample_weight": self.sample_weight is not None,
            "class_weight": self.class_weight is not None,
            "batch_size": options.batch_size is not None,
            "validation_split": bool(options.validation_split),
        }
        given = [f"`{name}`" for name, is_given in unused.items() if is_given]
        if given:
            raise ValueError(
                f"{' and '.join(given)} cannot be used with `objective`, which takes all of "
                "x as it is: put what it needs into x, as {'points': ..., 'values': ...}."
            )
        validation = None
        if self.validation_data is not None:
            validation = read_points(self.validation_data, how, "validation_data")
        return read_points(self.x, how), validation
