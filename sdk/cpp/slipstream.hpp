// slipstream.hpp - a plugin for slipstream as a C++ class; C++17, headers only.
//
// What slipstream.h says holds here too; this file takes the work out of it: the object is made
// when the plugin is loaded and destroyed when it is unloaded, exceptions become statuses and
// texts and never leave the library, spans are std::string_view, the config is read by type.
//
// A WHOLE PLUGIN
//
//   #include <slipstream.hpp>
//
//   SLIPSTREAM_INFO({"name": "minimal", "version": "1.0.0", "abi": 1, "kinds": ["BLOCK"],
//                    "flags": ["PROMPT", "MULTI_INSTANCE"], "requires": ["slipstream.config/1"]});
//
//   class minimal : public slipstream::plugin {
//   public:
//       using plugin::plugin;
//       std::uint64_t subscribed_events() const override {
//           return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
//       }
//       slipstream::status on_event(const slipstream::event &event) override {
//           if (auto block = event.get<slipstream::block>())
//               host().log(SLIPSTREAM_LOG_DEBUG, std::to_string(block->block.size()) + " bytes");
//           return slipstream::status::ok;
//       }
//   };
//
//   SLIPSTREAM_PLUGIN(minimal, "minimal", "1.0.0",
//                     SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE)
//
//   Build it with
//       c++ -std=c++17 -shared -fPIC -fvisibility=hidden -Wl,--version-script=exports.map
//           $(slipstream config --cflags) -o minimal.so minimal.cpp
//   where exports.map keeps the templates of the standard library inside:
//       { global: slipstream_create_plugin_v1; slipstream_info_v1; local: *; };
//
// EXCEPTIONS
//
//   slipstream::error carries a status; std::bad_alloc is NO_MEMORY, which the host tries again;
//   any other exception is FAILED. The host gets the name of the function and the exception's
//   text. An exception that a destructor or another thread lets go ends the process, as ever in
//   C++.
//
// Nothing of this file crosses the boundary, so it may change with the compiler that reads it.
#ifndef SLIPSTREAM_HPP
#define SLIPSTREAM_HPP

#include <slipstream.h>

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace slipstream {

// What a call came to; see "Statuses" in slipstream.h.
enum class status : std::int32_t {
    ok = SLIPSTREAM_OK,
    ignored = SLIPSTREAM_IGNORED,
    failed = SLIPSTREAM_FAILED,
    retry = SLIPSTREAM_RETRY,
    not_found = SLIPSTREAM_NOT_FOUND,
    unsupported = SLIPSTREAM_UNSUPPORTED,
    invalid_argument = SLIPSTREAM_INVALID_ARGUMENT,
    invalid_config = SLIPSTREAM_INVALID_CONFIG,
    malformed = SLIPSTREAM_MALFORMED,
    wrong_state = SLIPSTREAM_WRONG_STATE,
    too_large = SLIPSTREAM_TOO_LARGE,
    out_of_range = SLIPSTREAM_OUT_OF_RANGE,
    wrong_type = SLIPSTREAM_WRONG_TYPE,
    no_memory = SLIPSTREAM_NO_MEMORY,
    io = SLIPSTREAM_IO,
    timeout = SLIPSTREAM_TIMEOUT,
    denied = SLIPSTREAM_DENIED,
    fatal = SLIPSTREAM_FATAL,
};

// Thrown by a plugin: the call fails with this status and this text.
class error : public std::runtime_error {
public:
    error(slipstream::status status, const std::string &text)
        : std::runtime_error(text), status_(status) {}
    slipstream::status status() const noexcept { return status_; }

private:
    slipstream::status status_;
};

// ---- Events: views into the frame, valid until the callback returns. A value that is absent has
// data() == nullptr. ----------------------------------------------------------------------------

struct mapping_update {
    std::string_view program_id, mapping_name, key, value;
    std::uint32_t encoding;
};
struct mapping_removal {
    std::string_view program_id, mapping_name, key; // an absent key is the whole mapping
    std::uint32_t encoding;
};
struct staking_reward {
    std::string_view staker, validator;
    std::uint64_t reward, new_stake;
    std::uint32_t encoding;
};
struct block {
    std::string_view block;
    std::uint32_t encoding;
};
struct payload {
    std::string_view source, name, body; // the source may be absent
    std::uint32_t encoding;
};
struct peer_seen {
    std::string_view peer, public_key, name; // key and name may be absent
    std::uint32_t via;
};
struct peer_forgotten {
    std::string_view peer;
};
struct app { // kinds 32 to 63
    std::string_view bytes;
};
using gap = slipstream_gap; // numbers only

// A view as the readers of slipstream.h and as C functions take it, and back; char may look at
// any bytes.
inline slipstream_bytes bytes(std::string_view view) noexcept {
    return {reinterpret_cast<const std::uint8_t *>(view.data()), view.size()};
}
inline std::string_view view(slipstream_bytes bytes) noexcept {
    return {reinterpret_cast<const char *>(bytes.data), bytes.len};
}

namespace detail {

// The C view of each event, its reader, and how it becomes a C++ view.
template <typename View> struct reader;
#define SLIPSTREAM_READER_(type, ...)                                                             \
    template <> struct reader<type> {                                                             \
        using raw = slipstream_##type;                                                            \
        static std::int32_t read(const slipstream_frame *frame, raw *out) {                       \
            return slipstream_read_##type(frame, out);                                            \
        }                                                                                         \
        static type make(const raw &e) noexcept { return {__VA_ARGS__}; }                         \
    };
SLIPSTREAM_READER_(mapping_update, view(e.program_id), view(e.mapping_name), view(e.key),
                   view(e.value), e.encoding)
SLIPSTREAM_READER_(mapping_removal, view(e.program_id), view(e.mapping_name), view(e.key),
                   e.encoding)
SLIPSTREAM_READER_(staking_reward, view(e.staker), view(e.validator), e.reward, e.new_stake,
                   e.encoding)
SLIPSTREAM_READER_(block, view(e.block), e.encoding)
SLIPSTREAM_READER_(payload, view(e.source), view(e.name), view(e.body), e.encoding)
SLIPSTREAM_READER_(peer_seen, view(e.peer), view(e.public_key), view(e.name), e.via)
SLIPSTREAM_READER_(peer_forgotten, view(e.peer))
SLIPSTREAM_READER_(gap, e)
#undef SLIPSTREAM_READER_
template <> struct reader<app> {
    using raw = slipstream_bytes;
    static std::int32_t read(const slipstream_frame *frame, raw *out) {
        return slipstream_read_app(frame, out);
    }
    static app make(const raw &e) noexcept { return {view(e)}; }
};

} // namespace detail

// One event.
class event {
public:
    event(const slipstream_frame &frame, std::uint64_t ordinal) noexcept
        : frame_(frame), ordinal_(ordinal) {}

    std::uint32_t kind() const noexcept { return frame_.kind; } // SLIPSTREAM_KIND_*
    std::uint32_t flags() const noexcept { return frame_.flags; }
    std::uint64_t stream() const noexcept { return frame_.stream; }
    std::uint64_t sequence() const noexcept { return frame_.sequence; }
    std::uint64_t height() const noexcept { return frame_.height; } // SLIPSTREAM_HEIGHT_NONE
    std::int64_t time_ns() const noexcept { return frame_.time_ns; }
    std::uint64_t ordinal() const noexcept { return ordinal_; } // for ack and reject
    const slipstream_frame &frame() const noexcept { return frame_; }

    // The event as a `View` (mapping_update, ... gap, app); nothing if it is of another kind.
    // Throws error(malformed) if its bytes are not what they claim to be.
    template <typename View> std::optional<View> get() const {
        typename detail::reader<View>::raw raw{};
        const std::int32_t read = detail::reader<View>::read(&frame_, &raw);
        if (read == SLIPSTREAM_WRONG_TYPE)
            return std::nullopt;
        if (read != SLIPSTREAM_OK)
            throw error(static_cast<slipstream::status>(read), "the event's payload is malformed");
        return detail::reader<View>::make(raw);
    }

private:
    slipstream_frame frame_;
    std::uint64_t ordinal_;
};

// The events of one call, in order; each is read when the loop comes to it.
class run {
public:
    class iterator {
    public:
        iterator(const run &of, std::size_t at) noexcept : run_(&of), at_(at) {}
        event operator*() const noexcept {
            slipstream_frame frame{};
            std::size_t at = at_;
            slipstream_next_frame(run_->frames_, run_->len_, &at, &frame);
            return {frame, run_->first_ordinal_ + passed_};
        }
        iterator &operator++() noexcept {
            at_ += slipstream_load_u32(run_->frames_ + at_);
            passed_++;
            return *this;
        }
        bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }
        bool operator==(const iterator &other) const noexcept { return at_ == other.at_; }

    private:
        const run *run_;
        std::size_t at_;
        std::uint64_t passed_ = 0;
    };

    // Throws error: malformed for bytes that are not whole frames, unsupported for a critical
    // flag that is not known.
    run(const slipstream_delivery &delivery, const std::uint8_t *frames, std::size_t len)
        : frames_(frames), len_(len), first_ordinal_(delivery.first_ordinal),
          attempt_(delivery.attempt) {
        slipstream_frame frame{};
        std::size_t at = 0;
        std::int32_t read;
        while ((read = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK)
            size_++;
        if (read != SLIPSTREAM_END || size_ == 0)
            throw error(static_cast<status>(read < 0 ? read : SLIPSTREAM_MALFORMED),
                        "the frame cannot be read");
    }

    iterator begin() const noexcept { return {*this, 0}; }
    iterator end() const noexcept { return {*this, len_}; }
    std::size_t size() const noexcept { return size_; }
    std::uint32_t attempt() const noexcept { return attempt_; } // above 1: perhaps not the first
    std::uint64_t last_ordinal() const noexcept { return first_ordinal_ + size_ - 1; }

private:
    const std::uint8_t *frames_;
    std::size_t len_;
    std::uint64_t first_ordinal_;
    std::uint32_t attempt_;
    std::size_t size_ = 0;
};

// ---- The host ---------------------------------------------------------------------------------

// The host, and those of its extensions that it offers. A copy is as good as the original, and
// lives as long as the plugin.
class host {
public:
    explicit host(const slipstream_host *table) noexcept
        : table_(table), metrics_(extension<slipstream_metrics_v1>(SLIPSTREAM_EXT_METRICS)),
          settle_(extension<slipstream_settle_v1>(SLIPSTREAM_EXT_SETTLE)),
          send_(extension<slipstream_send_v1>(SLIPSTREAM_EXT_SEND)),
          peers_(extension<slipstream_peers_v1>(SLIPSTREAM_EXT_PEERS)),
          identity_(extension<slipstream_identity_v1>(SLIPSTREAM_EXT_IDENTITY)) {}

    const slipstream_host *table() const noexcept { return table_; }
    template <typename Table> const Table *extension(const char *id) const noexcept {
        return static_cast<const Table *>(table_->get_extension(table_->ctx, id));
    }

    // [any-thread]
    bool log_enabled(std::uint32_t level) const noexcept {
        return table_->log_enabled(table_->ctx, level) != 0;
    }
    void log(std::uint32_t level, std::string_view text) const noexcept {
        table_->log(table_->ctx, level, text.data(), text.size());
    }
    bool is_stopping() const noexcept { return table_->is_stopping(table_->ctx) != 0; }
    // With SLIPSTREAM_FLAG_EXPLICIT_ACK.
    slipstream::status ack(std::uint64_t ordinal) const noexcept {
        return static_cast<slipstream::status>(table_->ack(table_->ctx, ordinal));
    }

    // Metrics; nothing happens where the host has none. `label` is nullptr or "key=value".
    void count(const char *name, std::uint64_t amount = 1,
               const char *label = nullptr) const noexcept {
        if (metrics_ != nullptr)
            metrics_->counter_add(table_->ctx, name, label, amount);
    }
    void gauge(const char *name, double value, const char *label = nullptr) const noexcept {
        if (metrics_ != nullptr)
            metrics_->gauge_set(table_->ctx, name, label, value);
    }

    // Rejects one event of a run; see slipstream.settle/1.
    slipstream::status reject(std::uint64_t ordinal, slipstream::status status,
                              std::string_view text) const noexcept {
        if (settle_ == nullptr)
            return slipstream::status::unsupported;
        return static_cast<slipstream::status>(
            settle_->reject(table_->ctx, ordinal, static_cast<std::int32_t>(status), text.data(),
                            text.size()));
    }

    // A message to a peer; `how` is SLIPSTREAM_PEER_DIRECT or _ROUTED. See slipstream.send/1.
    slipstream::status send(std::uint32_t how, std::string_view peer, std::string_view name,
                            std::string_view body, std::uint64_t *ticket = nullptr) const noexcept {
        std::uint64_t number = 0;
        if (send_ == nullptr)
            return slipstream::status::unsupported;
        const std::int32_t done = send_->send(
            table_->ctx, how, bytes(peer).data, peer.size(), bytes(name).data, name.size(),
            bytes(body).data, body.size(), ticket != nullptr ? ticket : &number);
        return static_cast<slipstream::status>(done);
    }

    // A peer's SLIPSTREAM_PEER_PUBLIC_KEY or _NAME; nothing if it is not known. These four throw
    // error: unsupported where the host has no peers, denied without a grant, timeout.
    std::optional<std::string> lookup(std::string_view peer, std::uint32_t field) const {
        return found(peers_, [&](std::uint8_t *buffer, std::size_t *len) {
            return peers_->lookup(table_->ctx, bytes(peer).data, peer.size(), field, buffer, len);
        });
    }
    // The peer number `index`, from 0; nothing behind the last.
    std::optional<std::string> peer_at(std::uint32_t index) const {
        return found(peers_, [&](std::uint8_t *buffer, std::size_t *len) {
            return peers_->peer_at(table_->ctx, index, buffer, len);
        });
    }
    std::string public_key() const {
        return needed(found(identity_, [&](std::uint8_t *buffer, std::size_t *len) {
            return identity_->public_key(table_->ctx, buffer, len);
        }));
    }
    std::array<std::uint8_t, SLIPSTREAM_SIGNATURE_LEN> sign(std::string_view data) const {
        std::array<std::uint8_t, SLIPSTREAM_SIGNATURE_LEN> signature{};
        if (identity_ == nullptr)
            throw lacking();
        check(identity_->sign(table_->ctx, bytes(data).data, data.size(), signature.data()));
        return signature;
    }
    // Opens a sealed box; throws error(malformed) if it is none for this host.
    std::string open(std::string_view sealed) const {
        return needed(found(identity_, [&](std::uint8_t *buffer, std::size_t *len) {
            return identity_->open(table_->ctx, bytes(sealed).data, sealed.size(), buffer, len);
        }));
    }

private:
    static error lacking() {
        return {slipstream::status::unsupported, "the host has no peers: start it with services"};
    }
    static void check(std::int32_t done) {
        if (done != SLIPSTREAM_OK)
            throw error(static_cast<slipstream::status>(done),
                        done == SLIPSTREAM_DENIED ? "the plugin's config grants no such call"
                                                  : "the host did not answer the call");
    }
    static std::string needed(std::optional<std::string> value) {
        if (!value)
            throw error(slipstream::status::not_found, "the host has no such value");
        return std::move(*value);
    }
    // What is longer than the buffer is asked for again with one that has room.
    template <typename Table, typename Call>
    static std::optional<std::string> found(const Table *table, Call call) {
        if (table == nullptr)
            throw lacking();
        std::string buffer(256, '\0');
        for (;;) {
            std::size_t len = buffer.size();
            const std::int32_t done = call(reinterpret_cast<std::uint8_t *>(buffer.data()), &len);
            if (done == SLIPSTREAM_NOT_FOUND)
                return std::nullopt;
            if (done != SLIPSTREAM_TOO_LARGE || len <= buffer.size())
                check(done);
            const bool whole = done == SLIPSTREAM_OK;
            buffer.resize(len);
            if (whole)
                return buffer;
        }
    }

    const slipstream_host *table_;
    const slipstream_metrics_v1 *metrics_;
    const slipstream_settle_v1 *settle_;
    const slipstream_send_v1 *send_;
    const slipstream_peers_v1 *peers_;
    const slipstream_identity_v1 *identity_;
};

// ---- The config: valid in the plugin's constructor ----------------------------------------------

class config {
public:
    config(const slipstream::host &host, std::string_view text, std::uint32_t reason)
        : host_(host.table()), table_(host.extension<slipstream_config_v1>(SLIPSTREAM_EXT_CONFIG)),
          text_(text), reason_(reason) {}

    std::string_view text() const noexcept { return text_; } // the whole of it, as JSON
    std::uint32_t reason() const noexcept { return reason_; } // SLIPSTREAM_LOAD_*

    // The value of `key`, which may also be a JSON pointer ("/limits/0"): a bool, a number, a
    // std::string, or a std::vector of these. Throws error(invalid_config), which names the key,
    // if it is missing, of another type, or does not fit.
    template <typename T> T get(const std::string &key) const {
        auto value = find<T>(key);
        if (!value)
            throw error(slipstream::status::invalid_config, "config key '" + key + "' is missing");
        return std::move(*value);
    }
    // The same, or `otherwise` where it is missing.
    template <typename T> T get(const std::string &key, T otherwise) const {
        auto value = find<T>(key);
        return value ? std::move(*value) : std::move(otherwise);
    }
    // A number with limits, which stand in the error.
    template <typename T> T get(const std::string &key, T otherwise, T low, T high) const {
        const T value = get<T>(key, otherwise);
        if (value < low || value > high)
            throw error(slipstream::status::invalid_config,
                        "config key '" + key + "' must be " + std::to_string(low) + " to " +
                            std::to_string(high));
        return value;
    }
    // Any value, as JSON.
    std::string json(const std::string &key) const {
        return read(key, table().get_json, pointer(key)).value_or("");
    }
    // The folder of the config file, and the plugin's own, which is kept over restarts.
    std::string config_dir() const {
        return folder(table().config_dir);
    }
    std::string data_dir() const {
        return folder(table().data_dir);
    }

private:
    using text_reader = std::int32_t(SLIPSTREAM_CALL *)(void *, const char *, char *,
                                                        std::size_t *);

    const slipstream_config_v1 &table() const {
        if (table_ == nullptr)
            throw error(slipstream::status::unsupported,
                        "the host does not offer " SLIPSTREAM_EXT_CONFIG "; use a newer host");
        return *table_;
    }

    // RFC 6901: "~" and "/" of a key are escaped.
    static std::string pointer(const std::string &key) {
        if (key.empty() || key[0] == '/')
            return key;
        std::string out = "/";
        for (const char c : key)
            out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
        return out;
    }

    // False: it is missing.
    static bool check(const std::string &key, std::int32_t done, const char *wanted) {
        if (done == SLIPSTREAM_NOT_FOUND)
            return false;
        if (done != SLIPSTREAM_OK)
            throw error(done == SLIPSTREAM_WRONG_STATE ? slipstream::status::wrong_state
                                                       : slipstream::status::invalid_config,
                        "config key '" + key + "' " +
                            (done == SLIPSTREAM_OUT_OF_RANGE ? "does not fit " : "must be ") +
                            wanted);
        return true;
    }

    std::optional<std::string> read(const std::string &key, text_reader reader,
                                    const std::string &at) const {
        std::string buffer(256, '\0');
        std::size_t len = buffer.size();
        std::int32_t done = reader(host_->ctx, at.c_str(), buffer.data(), &len);
        if (done == SLIPSTREAM_TOO_LARGE) {
            buffer.resize(len);
            done = reader(host_->ctx, at.c_str(), buffer.data(), &len);
        }
        if (!check(key, done, "a text"))
            return std::nullopt;
        buffer.resize(len);
        return buffer;
    }

    std::string folder(std::int32_t(SLIPSTREAM_CALL *reader)(void *, char *, std::size_t *)) const {
        std::string buffer(4096, '\0');
        std::size_t len = buffer.size();
        if (reader(host_->ctx, buffer.data(), &len) != SLIPSTREAM_OK)
            throw error(slipstream::status::not_found, "the host has no such folder");
        buffer.resize(len);
        return buffer;
    }

    template <typename T, typename = void> struct is_vector : std::false_type {};
    template <typename T> struct is_vector<std::vector<T>, void> : std::true_type {};

    template <typename T> std::optional<T> find(const std::string &key) const {
        const std::string at = pointer(key);
        if constexpr (std::is_same_v<T, bool>) {
            std::uint32_t value = 0;
            if (!check(key, table().get_bool(host_->ctx, at.c_str(), &value), "true or false"))
                return std::nullopt;
            return value != 0;
        } else if constexpr (std::is_integral_v<T>) {
            using wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
            wide value = 0;
            std::int32_t done;
            if constexpr (std::is_signed_v<T>)
                done = table().get_i64(host_->ctx, at.c_str(), &value);
            else
                done = table().get_u64(host_->ctx, at.c_str(), &value);
            if (done == SLIPSTREAM_OK && static_cast<wide>(static_cast<T>(value)) != value)
                done = SLIPSTREAM_OUT_OF_RANGE;
            if (!check(key, done, "a whole number of its range"))
                return std::nullopt;
            return static_cast<T>(value);
        } else if constexpr (std::is_floating_point_v<T>) {
            double value = 0;
            if (!check(key, table().get_f64(host_->ctx, at.c_str(), &value), "a number"))
                return std::nullopt;
            return static_cast<T>(value);
        } else if constexpr (is_vector<T>::value) {
            std::uint32_t type = 0;
            std::size_t count = 0;
            std::int32_t done = table().type_at(host_->ctx, at.c_str(), &type, &count);
            if (done == SLIPSTREAM_OK && type != SLIPSTREAM_JSON_ARRAY)
                done = SLIPSTREAM_WRONG_TYPE;
            if (!check(key, done, "an array"))
                return std::nullopt;
            T values;
            for (std::size_t i = 0; i < count; i++)
                values.push_back(get<typename T::value_type>(at + "/" + std::to_string(i)));
            return values;
        } else {
            static_assert(std::is_same_v<T, std::string>,
                          "a bool, a number, a std::string, or a std::vector of these");
            return read(key, table().get_text, at);
        }
    }

    const slipstream_host *host_;
    const slipstream_config_v1 *table_;
    std::string_view text_;
    std::uint32_t reason_;
};

// ---- The plugin -------------------------------------------------------------------------------

// What a plugin derives from. Its constructor is on_load: it takes the host and the config, and
// refuses by an exception, after which nothing is left of it. Its destructor runs after the last
// event, behind on_unload.
class plugin {
public:
    plugin(const slipstream::host &host, const slipstream::config &) : host_(host) {}
    virtual ~plugin() = default;
    plugin(const plugin &) = delete;
    plugin &operator=(const plugin &) = delete;

    // The kinds (SLIPSTREAM_KIND_BIT) that the plugin wants; asked once, after the constructor.
    virtual std::uint64_t subscribed_events() const { return 0; }

    // One event. ok and ignored are done; retry, no_memory and timeout bring it again; any other
    // makes a dead letter of it. With SLIPSTREAM_FLAG_EXPLICIT_ACK ok waits for ack or flush.
    virtual slipstream::status on_event(const event &) { return slipstream::status::ignored; }

    // A run of events, which is all or nothing: after anything but ok all of it must be undone.
    // With SLIPSTREAM_FLAG_BATCH it has to be written; without, it gets one event.
    virtual slipstream::status on_run(const slipstream::run &run) { return on_event(*run.begin()); }

    // Makes all that came durable. Has to be written with SLIPSTREAM_FLAG_EXPLICIT_ACK.
    virtual void flush(std::uint32_t /* timeout_ms */) {}

    // The last call before the destructor: make all durable, join threads. What it throws is
    // logged.
    virtual void on_unload(std::uint32_t /* timeout_ms */) {}

    // The PAYLOAD name number `index` that the plugin claims; nullptr ends the list. The texts
    // live as long as the plugin.
    virtual const char *payload_name(std::uint32_t /* index */) const { return nullptr; }

protected:
    const slipstream::host &host() const noexcept { return host_; }

private:
    const slipstream::host host_;
};

namespace detail {

// "function: text", without memory of its own.
class line {
public:
    line(const char *function, const char *text) noexcept {
        for (const char *part : {function, ": ", text})
            for (; *part != '\0' && len_ < text_.size(); part++)
                text_[len_++] = *part;
    }
    const char *data() const noexcept { return text_.data(); }
    std::size_t size() const noexcept { return len_; }

private:
    std::array<char, SLIPSTREAM_ERROR_MAX> text_;
    std::size_t len_ = 0;
};

template <typename Call>
std::int32_t guarded(const slipstream_host *host, const char *function, Call call) noexcept {
    const auto fail = [&](std::int32_t status, const char *text) noexcept {
        const line why(function, text);
        host->set_error(host->ctx, why.data(), why.size());
        return status;
    };
    try {
        return call();
    } catch (const error &e) {
        return fail(static_cast<std::int32_t>(e.status()), e.what());
    } catch (const std::bad_alloc &) {
        return fail(SLIPSTREAM_NO_MEMORY, "no memory (std::bad_alloc)");
    } catch (const std::exception &e) {
        return fail(SLIPSTREAM_FAILED, e.what());
    } catch (...) {
        return fail(SLIPSTREAM_FAILED, "an exception that is not a std::exception");
    }
}

// For functions without a status: what they throw is logged.
template <typename Result, typename Call>
Result logged(const slipstream_host *host, const char *function, Result otherwise,
              Call call) noexcept {
    const auto tell = [&](const char *text) noexcept {
        const line why(function, text);
        host->log(host->ctx, SLIPSTREAM_LOG_ERROR, why.data(), why.size());
        return otherwise;
    };
    try {
        return call();
    } catch (const std::exception &e) {
        return tell(e.what());
    } catch (...) {
        return tell("an exception that is not a std::exception");
    }
}

// One instance: the table that the host sees, and the object between on_load and destroy.
template <typename Plugin> struct instance {
    slipstream_plugin table;
    const slipstream_host *host;
    std::unique_ptr<Plugin> object;

    static instance &of(void *self) noexcept { return *static_cast<instance *>(self); }

    static void SLIPSTREAM_CALL destroy(void *self) { delete &of(self); }

    static std::int32_t SLIPSTREAM_CALL on_load(void *self, const char *text, std::size_t len,
                                                std::uint32_t reason) {
        return guarded(of(self).host, "on_load", [&] {
            const slipstream::host seen(of(self).host);
            of(self).object =
                std::make_unique<Plugin>(seen, config(seen, std::string_view(text, len), reason));
            return SLIPSTREAM_OK;
        });
    }
    static std::int32_t SLIPSTREAM_CALL on_unload(void *self, std::uint32_t timeout_ms) {
        const std::int32_t done = guarded(of(self).host, "on_unload", [&] {
            of(self).object->on_unload(timeout_ms);
            return SLIPSTREAM_OK;
        });
        of(self).object.reset();
        return done;
    }
    static std::uint64_t SLIPSTREAM_CALL subscribed_events(void *self) {
        return logged(of(self).host, "subscribed_events", std::uint64_t{0},
                      [&] { return of(self).object->subscribed_events(); });
    }
    static std::int32_t SLIPSTREAM_CALL on_broadcast(void *self,
                                                     const slipstream_delivery *delivery,
                                                     const std::uint8_t *frames, std::size_t len) {
        return guarded(of(self).host, "on_broadcast", [&] {
            return static_cast<std::int32_t>(of(self).object->on_run(run(*delivery, frames, len)));
        });
    }
    static std::int32_t SLIPSTREAM_CALL flush(void *self, std::uint32_t timeout_ms) {
        return guarded(of(self).host, "flush", [&] {
            of(self).object->flush(timeout_ms);
            return SLIPSTREAM_OK;
        });
    }
    static const char *SLIPSTREAM_CALL name_at(void *self, std::uint32_t index) {
        const char *none = nullptr;
        return logged(of(self).host, "payload_name", none,
                      [&] { return of(self).object->payload_name(index); });
    }
    static const void *SLIPSTREAM_CALL get_extension(void *, const char *id) {
        static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
        return std::string_view(id) == SLIPSTREAM_EXT_PAYLOAD ? &payload : nullptr;
    }
};

template <typename Plugin>
const slipstream_plugin *create(const slipstream_host *host, const char *name, const char *version,
                                std::uint32_t flags) noexcept {
    using shell = instance<Plugin>;
    constexpr bool claims =
        !std::is_same_v<decltype(&Plugin::payload_name), decltype(&plugin::payload_name)>;
    auto *self = new (std::nothrow) shell{};
    if (self == nullptr) {
        const std::string_view text = "no memory for an instance";
        host->set_error(host->ctx, text.data(), text.size());
        return nullptr;
    }
    self->host = host;
    self->table = {SLIPSTREAM_PLUGIN_HEAD,
                   flags,
                   self,
                   name,
                   version,
                   shell::destroy,
                   shell::on_load,
                   shell::on_unload,
                   shell::subscribed_events,
                   shell::on_broadcast,
                   (flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 ? shell::flush : nullptr,
                   claims ? shell::get_extension : nullptr};
    return &self->table;
}

} // namespace detail
} // namespace slipstream

// Makes the constructor of a library whose plugin is the class `type`; once, at file scope.
#define SLIPSTREAM_PLUGIN(type, name, version, flags)                                             \
    static_assert(((flags)&SLIPSTREAM_FLAG_BATCH) == 0 ||                                         \
                      !std::is_same_v<decltype(&type::on_run),                                    \
                                      decltype(&slipstream::plugin::on_run)>,                     \
                  "with SLIPSTREAM_FLAG_BATCH a plugin writes on_run");                           \
    static_assert(((flags)&SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0 ||                                  \
                      !std::is_same_v<decltype(&type::flush),                                     \
                                      decltype(&slipstream::plugin::flush)>,                      \
                  "with SLIPSTREAM_FLAG_EXPLICIT_ACK a plugin writes flush");                     \
    static_assert(((flags)&SLIPSTREAM_FLAG_CONCURRENT) == 0,                                      \
                  "SLIPSTREAM_FLAG_CONCURRENT needs the table of slipstream.h");                  \
    const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(                         \
        const slipstream_host *host) {                                                            \
        return slipstream::detail::create<type>(host, name, version, flags);                      \
    }

#endif
