"""The admin contract: what a server does now, for operators. `v1` has its stubs."""
