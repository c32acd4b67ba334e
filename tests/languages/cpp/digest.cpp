// digest - digests every field of every frame; in C++20, from slipstream.h alone.
#include <slipstream.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <memory>
#include <span>
#include <new>
#include <string>
#include <string_view>

SLIPSTREAM_INFO({"name": "digest", "version": "1.0.0", "abi": 1, "requires": ["slipstream.config/1"],
                 "flags": ["MULTI_INSTANCE", "BATCH"],
                 "config_schema": {"type": "object", "required": ["out"],
                                   "properties": {"out": {"type": "string"}}},
                 "sample_config": {"out": "digest.txt"}});

namespace {

class Digest {
public:
    void number(std::uint64_t value) {
        for (int i = 0; i < 8; i++)
            byte(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    void bytes(slipstream_bytes value) {
        number(value.data == nullptr ? ~std::uint64_t{0} : value.len);
        for (const std::uint8_t one : std::span(value.data, value.len))
            byte(one);
    }
    std::uint64_t value = 0xcbf29ce484222325;
    std::uint64_t count = 0;

private:
    void byte(std::uint8_t one) { value = (value ^ one) * 0x100000001b3; }
};

struct Plugin {
    slipstream_plugin table{};
    const slipstream_host *host = nullptr;
    std::string out;
    Digest events, gaps;
};

template <typename View> using Reader = std::int32_t (*)(const slipstream_frame *, View *);

template <typename View, typename Use>
std::int32_t with(const slipstream_frame &frame, Reader<View> read, Use use) {
    View view;
    const std::int32_t status = read(&frame, &view);
    if (status == SLIPSTREAM_OK)
        use(view);
    return status;
}

std::int32_t take(Plugin &self, const slipstream_frame &frame) {
    Digest &d = frame.kind == SLIPSTREAM_KIND_GAP ? self.gaps : self.events;
    d.count++;
    if (frame.kind == SLIPSTREAM_KIND_GAP)
        return with<slipstream_gap>(frame, slipstream_read_gap, [&](const slipstream_gap &e) {
            for (const std::uint64_t n :
                 {e.first, e.last, e.count, e.kinds, e.first_height, e.last_height, e.lost_stream,
                  e.first_sequence, e.last_sequence, std::uint64_t{e.reasons}})
                d.number(n);
        });
    for (const std::uint64_t n : {std::uint64_t{frame.kind}, std::uint64_t{frame.flags}, frame.stream,
                                  frame.sequence, static_cast<std::uint64_t>(frame.time_ns), frame.height})
        d.number(n);
    const auto all = [&](std::initializer_list<slipstream_bytes> spans, std::uint64_t word) {
        for (const slipstream_bytes &span : spans)
            d.bytes(span);
        d.number(word);
    };
    switch (frame.kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        return with<slipstream_mapping_update>(frame, slipstream_read_mapping_update, [&](const auto &e) {
            all({e.program_id, e.mapping_name, e.key, e.value}, e.encoding);
        });
    case SLIPSTREAM_KIND_MAPPING_REMOVAL:
        return with<slipstream_mapping_removal>(frame, slipstream_read_mapping_removal, [&](const auto &e) {
            all({e.program_id, e.mapping_name, e.key}, e.encoding);
        });
    case SLIPSTREAM_KIND_STAKING_REWARD:
        return with<slipstream_staking_reward>(frame, slipstream_read_staking_reward, [&](const auto &e) {
            all({e.staker, e.validator}, e.encoding);
            d.number(e.reward);
            d.number(e.new_stake);
        });
    case SLIPSTREAM_KIND_BLOCK:
        return with<slipstream_block>(frame, slipstream_read_block,
                                      [&](const auto &e) { all({e.block}, e.encoding); });
    case SLIPSTREAM_KIND_PAYLOAD:
        return with<slipstream_payload>(frame, slipstream_read_payload, [&](const auto &e) {
            all({e.source, e.name, e.body}, e.encoding);
        });
    case SLIPSTREAM_KIND_PEER_SEEN:
        return with<slipstream_peer_seen>(frame, slipstream_read_peer_seen, [&](const auto &e) {
            all({e.peer, e.public_key, e.name}, e.via);
        });
    case SLIPSTREAM_KIND_PEER_FORGOTTEN:
        return with<slipstream_peer_forgotten>(frame, slipstream_read_peer_forgotten,
                                               [&](const auto &e) { all({e.peer}, 0); });
    default:
        return with<slipstream_bytes>(frame, slipstream_read_app, [&](const auto &e) { all({e}, 0); });
    }
}

// No exception leaves a function.
template <typename Work> std::int32_t guarded(Plugin &self, Work work) noexcept {
    try {
        return work();
    } catch (const std::exception &error) {
        return slipstream_fail(self.host, SLIPSTREAM_PANIC, error.what());
    }
}

Plugin &of(void *instance) {
    return *static_cast<Plugin *>(instance);
}

std::int32_t SLIPSTREAM_CALL on_load(void *instance, const char *, std::size_t, std::uint32_t) {
    Plugin &self = of(instance);
    return guarded(self, [&] {
        const auto *config = static_cast<const slipstream_config_v1 *>(
            slipstream_extension(self.host, SLIPSTREAM_EXT_CONFIG));
        std::size_t len = 0;
        if (config == nullptr)
            return slipstream_fail(self.host, SLIPSTREAM_UNSUPPORTED, "no slipstream.config/1");
        if (config->get_text(self.host->ctx, "/out", nullptr, &len) != SLIPSTREAM_TOO_LARGE)
            return slipstream_fail(self.host, SLIPSTREAM_INVALID_CONFIG, "out: a path is needed");
        self.out.resize(len);
        return config->get_text(self.host->ctx, "/out", self.out.data(), &len);
    });
}

std::int32_t SLIPSTREAM_CALL on_unload(void *instance, std::uint32_t) {
    Plugin &self = of(instance);
    std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(self.out.c_str(), "w"), std::fclose);
    if (file == nullptr)
        return slipstream_fail(self.host, SLIPSTREAM_IO, "cannot write the digest");
    std::fprintf(file.get(), "events %llu %016llx gaps %llu %016llx\n",
                 static_cast<unsigned long long>(self.events.count),
                 static_cast<unsigned long long>(self.events.value),
                 static_cast<unsigned long long>(self.gaps.count),
                 static_cast<unsigned long long>(self.gaps.value));
    return SLIPSTREAM_OK;
}

std::uint64_t SLIPSTREAM_CALL subscribed_events(void *) {
    std::uint64_t kinds = ~std::uint64_t{0} << SLIPSTREAM_KIND_APP_FIRST; // to APP_LAST
    for (std::uint32_t kind = 0; kind < SLIPSTREAM_KIND_MARK; kind++)
        kinds |= SLIPSTREAM_KIND_BIT(kind);
    return kinds;
}

std::int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *,
                                          const std::uint8_t *frames, std::size_t len) {
    Plugin &self = of(instance);
    return guarded(self, [&] {
        slipstream_frame frame;
        std::size_t at = 0;
        std::int32_t status;
        while ((status = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK)
            if ((status = take(self, frame)) != SLIPSTREAM_OK)
                return slipstream_fail(self.host, status, "unreadable frame");
        return status == SLIPSTREAM_END ? SLIPSTREAM_OK
                                        : slipstream_fail(self.host, status, "unreadable frame");
    });
}

const char *SLIPSTREAM_CALL name_at(void *, std::uint32_t index) {
    return index == 0 ? "org.example.ping" : nullptr;
}

const void *SLIPSTREAM_CALL get_extension(void *, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    return std::string_view(id) == SLIPSTREAM_EXT_PAYLOAD ? &payload : nullptr;
}

void SLIPSTREAM_CALL destroy(void *instance) {
    delete &of(instance);
}

} // namespace

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    auto *self = new (std::nothrow) Plugin;
    if (self == nullptr)
        return nullptr;
    const std::uint32_t flags = SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_BATCH;
    self->host = host;
    self->table = {SLIPSTREAM_PLUGIN_HEAD, flags, self, "digest", "1.0.0", destroy, on_load, on_unload,
                   subscribed_events, on_broadcast, nullptr, get_extension};
    return &self->table;
}
