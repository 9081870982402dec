"""Names of other packages raise an error that suggests ours; other names behave as usual."""

import pickle

import numpy as np
import pytest

import keras_smooth
from keras_smooth.presentation import other_names


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("jvp", "directional"),
        ("hvp", "hessian_vector_product"),
        ("grad", "gradient"),
        ("partial", "partials"),
        ("mixed", "partials"),
        ("div", "divergence"),
        ("BFGS", "fit_lbfgs"),
    ],
)
def test_function_name_of_another_package_suggests_ours(name, suggestion):
    with pytest.raises(AttributeError, match=rf"{name}.*Use keras_smooth\.{suggestion}\("):
        getattr(keras_smooth, name)


def test_suggested_functions_exist():
    for name, suggestion in other_names.FUNCTIONS.items():
        assert not hasattr(keras_smooth, name), name
        assert callable(getattr(keras_smooth, suggestion.partition("(")[0])), suggestion


def test_unknown_attributes_raise_as_usual():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'.$"):
        _ = keras_smooth.nothing
    assert not hasattr(keras_smooth, "__path_of_nothing__")
    assert set(keras_smooth.__all__) <= set(dir(keras_smooth))
    unpickled = pickle.loads(pickle.dumps(keras_smooth.partials))
    assert unpickled is keras_smooth.partials
    assert pickle.loads(pickle.dumps(keras_smooth.fit_lbfgs)) is keras_smooth.fit_lbfgs


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("max_iter", "`epochs`"),
        ("maxiter", "`epochs`"),
        ("m", "`num_correction_pairs`"),
        ("history_size", "`num_correction_pairs`"),
        ("gtol", "`tolerance`"),
        ("learning_rate", "a line search"),
    ],
)
def test_argument_name_of_another_package_suggests_ours(name, suggestion, make_model):
    x = np.ones((3, 1))
    with pytest.raises(
        TypeError, match=f"no argument '{name}'. Use .*{suggestion}|{suggestion}"
    ):
        keras_smooth.fit_lbfgs(make_model(), x, x, **{name: 3})


def test_unknown_arguments_raise_as_usual(make_model):
    x = np.ones((3, 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        keras_smooth.fit_lbfgs(make_model(), x, x, nothing=3)
