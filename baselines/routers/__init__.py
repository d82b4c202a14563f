"""Routers of a mixture of experts, one a file; the file's name is the router's."""
