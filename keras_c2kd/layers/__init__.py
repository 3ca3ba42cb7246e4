"""Heads that methods put on the networks."""

from keras_c2kd.layers.proxy_head import ProxyHead

__all__ = ["ProxyHead"]
