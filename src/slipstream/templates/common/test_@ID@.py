"""What @NAME@ does with events, step by step; `make test` builds it and runs this."""

from pathlib import Path

import pytest
from slipstream import Block, ConfigError
from slipstream.testing import FakeHost

LIBRARY = Path(__file__).with_name("@NAME@.so")


def test_it_logs_every_second_block() -> None:
    with FakeHost(LIBRARY, {"every": 2}) as host:
        for height in range(4):
            assert host.deliver(Block(b"four", height)).ok
        texts = [line.text for line in host.logs]
    assert texts == ["2 blocks; the last has 4 bytes", "4 blocks; the last has 4 bytes"]
    assert not host.misbehaviour


def test_a_wrong_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="every"), FakeHost(LIBRARY, {"every": "often"}):
        pass
