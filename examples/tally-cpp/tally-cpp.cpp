// tally in C++: counts events by kind and by mapping, and logs the table when it is unloaded.
#include "../common/aleo.h"
#include <slipstream.hpp>

#include <algorithm>
#include <map>

SLIPSTREAM_INFO({"name": "tally-cpp", "version": "1.0.0", "abi": 1, "licence": "Apache-2.0",
    "flags": ["PROMPT", "MULTI_INSTANCE", "BATCH"], "requires": ["slipstream.config/1"],
    "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "PAYLOAD"],
    "config_schema": {"type": "object", "additionalProperties": false, "properties": {
        "max_mappings": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 256,
            "description": "mappings that are counted one by one"}}},
    "sample_config": {"max_mappings": 100}});

class tally : public slipstream::plugin {
    using number = unsigned long long;
    static constexpr const char *names[] = {"mapping_update", "mapping_removal", "staking_reward",
                                            "block", "payload", "gap"};
    const std::size_t max_mappings;
    std::map<std::string, number> rows;
    number events = 0, lost = 0, other = 0, kinds[std::size(names)] = {};

    static std::string name(std::string_view bytes, int identifiers) {
        char text[ALEO_NAME_TEXT];
        return aleo_name_text(slipstream::bytes(bytes), identifiers, text) ? text : "(no name)";
    }
    void count_row(std::string_view program, std::string_view mapping) {
        const std::string key = name(program, 2) + "/" + name(mapping, 1);
        if (rows.size() < max_mappings || rows.count(key) != 0)
            rows[key]++;
        else
            other++; // memory stays bounded, whatever comes
    }
    void say(number count, const std::string &what) const {
        host().log(SLIPSTREAM_LOG_INFO, std::to_string(count) + " " + what);
    }

public:
    tally(const slipstream::host &host, const slipstream::config &config)
        : plugin(host, config), max_mappings(config.get<std::size_t>("max_mappings", 256, 1, 4096)) {}

    std::uint64_t subscribed_events() const override { return 0x1f; }

    // A run is all or nothing: what is malformed shows before anything is counted.
    slipstream::status on_run(const slipstream::run &run) override {
        for (const auto &event : run)
            event.get<slipstream::mapping_update>(), event.get<slipstream::mapping_removal>();
        for (const auto &event : run) {
            if (event.kind() >= std::size(names))
                continue; // of a newer host
            kinds[event.kind()]++;
            host().count("events", 1, (std::string("kind=") + names[event.kind()]).c_str());
            if (const auto gap = event.get<slipstream::gap>())
                lost += gap->count;
            else
                events++;
            if (const auto update = event.get<slipstream::mapping_update>())
                count_row(update->program_id, update->mapping_name);
            if (const auto removal = event.get<slipstream::mapping_removal>())
                count_row(removal->program_id, removal->mapping_name);
        }
        return slipstream::status::ok;
    }

    void on_unload(std::uint32_t) override {
        say(events, "events, " + std::to_string(lost) + " lost");
        for (std::size_t kind = 0; kind < std::size(names); kind++)
            say(kinds[kind], names[kind]);
        for (const auto &[mapping, count] : rows)
            say(count, mapping);
        say(other, "of other mappings");
    }
};

SLIPSTREAM_PLUGIN(tally, "tally-cpp", "1.0.0",
                  SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_BATCH)
