// @NAME@ - counts blocks, and logs a line for every so many of them. Put your own work here.
//
// slipstream.hpp says how a plugin becomes a class, slipstream.h which rules it keeps;
// `slipstream check ./@NAME@@SUFFIX@` tries them.
#include <slipstream.hpp>

#include <cstdint>
#include <string>

// What a host reads before any of this runs; config_schema lets it refuse a wrong config.
SLIPSTREAM_INFO({
    "name": "@NAME@", "version": "0.1.0", "abi": 1,
    "kinds": ["BLOCK"], "flags": ["MULTI_INSTANCE"],
    "requires": ["slipstream.config/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "every": {
                "type": "integer", "minimum": 1, "default": 1000,
                "description": "a log line after every so many blocks"
            }
        },
        "additionalProperties": false
    },
    "sample_config": {"every": 2}
});

class plugin final : public slipstream::plugin {
    const std::uint64_t every;
    std::uint64_t blocks = 0;
    std::uint64_t lost = 0;

public:
    // on_load: what throws here refuses the load, and leaves nothing behind.
    plugin(const slipstream::host &host, const slipstream::config &config)
        : slipstream::plugin(host, config),
          every(config.get<std::uint64_t>("every", 1000, 1, UINT64_MAX)) {}

    std::uint64_t subscribed_events() const override {
        return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
    }

    slipstream::status on_event(const slipstream::event &event) override {
        if (const auto gap = event.get<slipstream::gap>()) { // events that were lost
            lost += gap->count;
            return slipstream::status::ok;
        }
        const auto block = event.get<slipstream::block>();
        if (!block)
            return slipstream::status::ignored; // a kind that a newer host knows
        if (++blocks % every == 0)
            host().log(SLIPSTREAM_LOG_INFO, std::to_string(blocks) + " blocks; the last has " +
                                                std::to_string(block->block.size()) + " bytes");
        return slipstream::status::ok;
    }

    void on_unload(std::uint32_t /* timeout_ms */) override {
        host().log(SLIPSTREAM_LOG_INFO, std::to_string(blocks) + " blocks in all, " +
                                            std::to_string(lost) + " lost");
    }
};

SLIPSTREAM_PLUGIN(plugin, "@NAME@", "0.1.0", SLIPSTREAM_FLAG_MULTI_INSTANCE)
