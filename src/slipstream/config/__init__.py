"""What a plugin's config says.

`load_config` reads a file, `parse_config` its text, `PluginConfig.from_mapping` plain values.
Nothing here looks at a library; see `slipstream.library`.
"""

from __future__ import annotations

from ._document import Document, JsonValue, shown, spell
from ._editor import editor_schema
from ._keys import (
    GRANTS,
    NO_PROCESS_MODE,
    Limits,
    Mode,
    Overflow,
    Reload,
    Restart,
    Retry,
    is_plugin_name,
)
from ._model import (
    MAX_CONFIG_BYTES,
    PluginConfig,
    config_of_bytes,
    load_config,
    load_configs,
    parse_config,
)
from ._packed import pack
from ._schema import ConfigSchema, SchemaProblem, settle_own
from ._secrets import MASK, ResolvedConfig, masked, plugin_config, resolve_secrets
from ._typos import closest, is_misspelt

__all__ = [
    "GRANTS",
    "MASK",
    "MAX_CONFIG_BYTES",
    "NO_PROCESS_MODE",
    "ConfigSchema",
    "Document",
    "JsonValue",
    "Limits",
    "Mode",
    "Overflow",
    "PluginConfig",
    "Reload",
    "ResolvedConfig",
    "Restart",
    "Retry",
    "SchemaProblem",
    "closest",
    "config_of_bytes",
    "editor_schema",
    "is_misspelt",
    "is_plugin_name",
    "load_config",
    "load_configs",
    "masked",
    "pack",
    "parse_config",
    "plugin_config",
    "resolve_secrets",
    "settle_own",
    "shown",
    "spell",
]
