// Throws in the function that the config names, what the config names.
#include <slipstream.hpp>

SLIPSTREAM_INFO({"name": "thrower", "version": "1.0.0", "abi": 1,
                 "flags": ["MULTI_INSTANCE", "EXPLICIT_ACK"], "requires": ["slipstream.config/1"]});

class thrower : public slipstream::plugin {
    const std::string function, what;
    std::vector<std::string> names;
    std::uint64_t seen = 0;

    void pass(const char *at) const {
        if (function != at)
            return;
        if (what == "status")
            throw slipstream::error(slipstream::status::io, "the disk is gone");
        if (what == "memory")
            throw std::bad_alloc();
        if (what == "number")
            throw 42;
        throw std::runtime_error("a thing of the library");
    }

public:
    thrower(const slipstream::host &host, const slipstream::config &config)
        : plugin(host, config), function(config.get<std::string>("function", "")),
          what(config.get<std::string>("what", "exception")),
          names(config.get<std::vector<std::string>>("names", {})) {
        pass("on_load");
    }
    std::uint64_t subscribed_events() const override {
        pass("subscribed_events");
        return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
    }
    slipstream::status on_event(const slipstream::event &event) override {
        const auto block = event.get<slipstream::block>();
        if (!block)
            return slipstream::status::ignored;
        if (++seen == 2)
            pass("on_broadcast");
        host().log(SLIPSTREAM_LOG_INFO, "took " + std::string(block->block));
        return slipstream::status::ok;
    }
    void flush(std::uint32_t) override { pass("flush"); }
    void on_unload(std::uint32_t) override { pass("on_unload"); }
    const char *payload_name(std::uint32_t index) const override {
        pass("payload_name");
        return index < names.size() ? names[index].c_str() : nullptr;
    }
};

SLIPSTREAM_PLUGIN(thrower, "thrower", "1.0.0",
                  SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_EXPLICIT_ACK)
