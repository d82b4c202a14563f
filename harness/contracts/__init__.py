"""Contract checks, one module a kind of method: a kind without one does not exist (see harness.registry.KINDS).

A kind's module offers ``PROTOCOL``, the protocol in ``harness.methods``, and ``check(method)``, which yields
every breach in words, with the observed value.
"""

from harness.contracts._check import check_method, default_instance

__all__ = ["check_method", "default_instance"]
