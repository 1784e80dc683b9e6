"""pgnotary holds destructive PostgreSQL statements until somebody signs, and proves afterwards what happened.

A statement's path is also the direction of every import: `cli` and `demo` stand on `serve`, `approval` and
`audit`; these on `config` and `store`; these on the pure core, which knows neither sockets, clocks nor files:
`session` and `verify`, `request`, `judge` and `ledger`, `wire`, `errors`. Nothing imports upwards.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
