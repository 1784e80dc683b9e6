"""The configuration: one TOML file to frozen structs; what is wrong is said with file, key, value and expectation.

A path enters, a `Config` leaves, or ConfigError. `load` answers for what the file says, `Config.inspect` for the files
that it names. Reading files happens here and nowhere below.
"""

from pgnotary.config.addresses import Address
from pgnotary.config.configuration import Config
from pgnotary.config.loading import load, parse
from pgnotary.config.tables import User
from pgnotary.config.toml import structure

__all__ = ["Address", "Config", "User", "load", "parse", "structure"]
