"""The contracts that every driver, store and outlet is held to, wherever it comes from."""

from tests.gateway.conftest import gateway

__all__ = ["gateway"]
