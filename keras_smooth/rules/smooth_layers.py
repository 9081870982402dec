"""Rules of this package's layers: those of the Keras layers that they stand in for."""

from keras_smooth import layers
from keras_smooth.rules.table import rule_of, set_rule

for _name in layers.__all__:
    _layer = getattr(layers, _name)
    _parent = next((kind for kind in _layer.__mro__[1:] if rule_of(kind)), None)
    if _parent is not None:
        set_rule(_layer, rule_of(_parent))
