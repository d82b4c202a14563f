"""Where a parameter stands in its model, and which family of updates trains it."""

from typing import Literal

Role = Literal["embedding", "hidden", "readout", "vector"]
Family = Literal["adam", "muon", "sgd"]
ROLES: tuple[Role, ...] = ("embedding", "hidden", "readout", "vector")
