"""Files that cannot be opened because too many are: the limit is told, and not the file."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream.config import load_config
from slipstream.errors import ConfigError, PackageError
from slipstream.packages.lock import Lock
from slipstream.packages.settings import read_settings
from slipstream.server import Tokens


def test_a_limit_that_is_hit_is_named_and_not_the_file(tmp_path: Path) -> None:
    """Whatever a file is for, nobody is told to restore one that is as it was."""
    config = tmp_path / "config.json5"
    config.write_text("{libpath: 'x.so'}")
    lock = tmp_path / "plugins.lock"
    Lock(lock).write()
    Tokens(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    readers: list[Callable[[], object]] = [
        lambda: load_config(config),
        lambda: Lock.read(lock),
        lambda: read_settings(config),
        lambda: Tokens(tmp_path),
    ]
    for read in readers:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            with pytest.raises((ConfigError, PackageError)) as caught:
                read()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert os.strerror(errno.EMFILE) in caught.value.message
        assert "ulimit -n" in caught.value.hint
