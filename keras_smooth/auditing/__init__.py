"""audit: which layers of a model lose or falsify derivatives, measured."""

from keras_smooth.auditing.auditor import Audit, Row, audit

__all__ = ["Audit", "Row", "audit"]
