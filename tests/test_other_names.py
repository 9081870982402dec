"""Names that other packages have are answered with what is meant; nothing else changes."""

import pickle

import numpy as np
import pytest

import keras_smooth
from keras_smooth.presentation import other_names


@pytest.mark.parametrize(
    ("name", "meant"),
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
def test_the_function_that_is_meant(name, meant):
    with pytest.raises(AttributeError, match=rf"{name}.*Use keras_smooth\.{meant}\("):
        getattr(keras_smooth, name)


def test_all_that_are_meant_are_there():
    for name, meant in other_names.FUNCTIONS.items():
        assert not hasattr(keras_smooth, name), name
        assert callable(getattr(keras_smooth, meant.partition("(")[0])), meant


def test_other_names_are_missing_as_everywhere():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'.$"):
        _ = keras_smooth.nothing
    assert not hasattr(keras_smooth, "__path_of_nothing__")
    assert set(keras_smooth.__all__) <= set(dir(keras_smooth))
    again = pickle.loads(pickle.dumps(keras_smooth.partials))
    assert again is keras_smooth.partials
    assert pickle.loads(pickle.dumps(keras_smooth.fit_lbfgs)) is keras_smooth.fit_lbfgs


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_iter", "`epochs`"),
        ("maxiter", "`epochs`"),
        ("m", "`num_correction_pairs`"),
        ("history_size", "`num_correction_pairs`"),
        ("gtol", "`tolerance`"),
        ("learning_rate", "a line search"),
    ],
)
def test_the_argument_that_is_meant(name, meant, make_model):
    x = np.ones((3, 1))
    with pytest.raises(TypeError, match=f"no argument '{name}'. Use .*{meant}|{meant}"):
        keras_smooth.fit_lbfgs(make_model(), x, x, **{name: 3})


def test_other_arguments_are_refused_as_everywhere(make_model):
    x = np.ones((3, 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        keras_smooth.fit_lbfgs(make_model(), x, x, nothing=3)
