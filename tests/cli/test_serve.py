"""What `serve` says of errors that come out of its task groups."""

import pytest

from pgnotary.cli.serve import raise_the_first
from pgnotary.errors import ConfigError, LedgerUnavailable


def test_an_error_of_ours_is_raised_alone_from_however_deep() -> None:
    ours = ConfigError("the port is taken")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ours]), LedgerUnavailable("no disk")])
    with pytest.raises(ConfigError, match="the port is taken"):
        raise_the_first(group)


def test_a_fault_of_our_own_is_not_hidden_behind_an_error() -> None:
    group = ExceptionGroup("outer", [ConfigError("the port is taken"), ExceptionGroup("inner", [KeyError("bug")])])
    with pytest.raises(ExceptionGroup) as caught:
        raise_the_first(group)
    assert caught.value is group
