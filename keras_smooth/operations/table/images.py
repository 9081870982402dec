"""Pooling, resizing and other operations on images, whose axis 0 is the batch."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.operations.lifting import add_linear, folded_linear_rule, full_jet, run
from keras_smooth.operations.rows import add, add_column


def _resampling_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the class: infinity in the images, 0 in the positions at which they are read."""
    return 0 if any(moving[1:]) else math.inf


_RESIZED = "ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate"
add(
    "AvgPool AvgPool3D DepthToSpace ExtractImagePatches ExtractVolumePatches ResizeArea "
    f"SpaceToDepth {_RESIZED}",
    folded_linear_rule,
    exact=True,
)
# TensorFlow has the first derivatives of these, but no second ones; none at all of ResizeArea.
add_column(_RESIZED, tapes_right_to=1)
add_column("ResizeArea", tapes_right_to=0)
add_column("ScaleAndTranslate", smoothness=_resampling_class)


def _transform_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the class: infinity in the images, -1 or 0 in the transform."""
    is_nearest = b"NEAREST" in bytes(operation.node_def.attr["interpolation"].s)
    return -1 if is_nearest and any(moving[1:]) else _resampling_class(operation, moving)


def _unfilled(operation: tf.Operation, images: tf.Tensor, *others: Any) -> tf.Tensor:
    """Applies an operation to an entry, with 0 instead of the fill value outside of the image."""
    filling = run(operation, [tf.zeros_like(images[0]), *others])
    moved = [run(operation, [image, *others]) - filling for image in tf.unstack(images)]
    return tf.stack(moved)


# TensorFlow's gradient applies the inverse transform, not the adjoint, which differs from it.
add_linear(
    "ImageProjectiveTransformV2 ImageProjectiveTransformV3",
    _unfilled,
    smoothness=_transform_class,
    tapes_right_to=0,
)


_SETTINGS = ("ksize", "strides", "padding", "data_format")


def _max_pool_rule(select: Any) -> Any:
    """Returns the rule of a maximum over windows; `select` gathers entries at the maxima."""

    def rule(operation: tf.Operation, x: Jet) -> Jet:
        y = run(operation, [x.primal])
        settings = {name: operation.get_attr(name) for name in _SETTINGS}

        def selected(v: tf.Tensor) -> tf.Tensor:
            copies = [v.shape[0], *[1] * (x.shape.rank - 1)]
            flat = tf.reshape(v, tf.concat([[-1], tf.shape(v)[2:]], axis=0))
            chosen = select(
                orig_input=tf.tile(x.primal, copies),
                orig_output=tf.tile(y, copies),
                grad=flat,
                **settings,
            )
            shape = tf.concat([tf.shape(v)[:1], tf.shape(y)], axis=0)
            return tf.ensure_shape(tf.reshape(chosen, shape), [v.shape[0], *y.shape])

        return map_entries(full_jet(x), y, selected)

    return rule


def _gap_in_windows(operation: tf.Operation, x: tf.Tensor) -> list:
    """Returns the difference between the largest and the second largest number of each window."""
    size, strides = operation.get_attr("ksize"), operation.get_attr("strides")
    if operation.get_attr("data_format").startswith(b"NC"):
        x = tf.transpose(x, [0, *range(2, x.shape.rank), 1])
        size, strides = ([s[0], *s[2:], s[1]] for s in (size, strides))
    # The patches are padded with 0, which has to be smaller than all numbers.
    x = x - tf.reduce_min(x) + 1.0
    padding = operation.get_attr("padding").decode()
    patches = (
        tf.image.extract_patches(x, size, strides, [1] * 4, padding)
        if x.shape.rank == 4
        else tf.extract_volume_patches(x, size, strides, padding)
    )
    shape = tf.concat([tf.shape(patches)[:-1], [-1, tf.shape(x)[-1]]], axis=0)
    windows = tf.linalg.matrix_transpose(tf.reshape(patches, shape))
    top = tf.sort(windows, direction="DESCENDING")[..., :2]
    return [top[..., 0] - top[..., -1]] if math.prod(size) > 1 else []


_MAXIMUM = {"exact": True, "smoothness": 0, "breakpoints": _gap_in_windows}
add("MaxPool", _max_pool_rule(tf.raw_ops.MaxPoolGradGrad), **_MAXIMUM)
add("MaxPool3D", _max_pool_rule(tf.raw_ops.MaxPool3DGradGrad), **_MAXIMUM)


add_linear("CropAndResize", _unfilled, smoothness=_resampling_class, tapes_right_to=1)
