//! digest - digests every field of every frame; in Zig, from slipstream.h alone:
//!     zig translate-c -lc -I include include/slipstream.h > contract.zig

const c = @import("contract");
const std = @import("std");

extern "c" fn fopen(path: [*:0]const u8, mode: [*:0]const u8) ?*anyopaque;
extern "c" fn fclose(file: *anyopaque) c_int;
extern "c" fn fwrite(bytes: [*]const u8, size: usize, count: usize, file: *anyopaque) usize;

const Digest = struct {
    value: u64 = 0xcbf29ce484222325,
    count: u64 = 0,

    fn feed(self: *Digest, bytes: []const u8) void {
        for (bytes) |one| self.value = (self.value ^ one) *% 0x100000001b3;
    }

    fn numbers(self: *Digest, values: []const u64) void {
        for (values) |value| {
            var bytes: [8]u8 = undefined;
            std.mem.writeInt(u64, &bytes, value, .little);
            self.feed(&bytes);
        }
    }

    fn spans(self: *Digest, values: []const c.slipstream_bytes) void {
        for (values) |span| {
            if (span.data == null) {
                self.numbers(&.{std.math.maxInt(u64)});
            } else {
                self.numbers(&.{span.len});
                self.feed(span.data[0..span.len]);
            }
        }
    }
};

const Plugin = struct {
    table: c.slipstream_plugin,
    host: *const c.slipstream_host,
    out: [4096:0]u8 = @splat(0),
    events: Digest = .{},
    gaps: Digest = .{},

    fn of(instance: ?*anyopaque) *Plugin {
        return @ptrCast(@alignCast(instance.?));
    }

    fn fail(self: *Plugin, status: i32, text: []const u8) i32 {
        self.host.set_error.?(self.host.ctx, text.ptr, text.len);
        return status;
    }

    /// The view of a frame, and OK; or why there is none.
    fn read(comptime View: type, reader: anytype, frame: *const c.slipstream_frame, status: *i32) View {
        var view: View = undefined;
        status.* = reader(frame, &view);
        return view;
    }

    fn take(self: *Plugin, frame: *const c.slipstream_frame) i32 {
        var status: i32 = undefined;
        if (frame.kind == c.SLIPSTREAM_KIND_GAP) {
            const e = read(c.slipstream_gap, c.slipstream_read_gap, frame, &status);
            self.gaps.count += 1;
            if (status == c.SLIPSTREAM_OK)
                self.gaps.numbers(&.{ e.first, e.last, e.count, e.kinds, e.first_height, e.last_height, e.lost_stream, e.first_sequence, e.last_sequence, e.reasons });
            return status;
        }
        const d = &self.events;
        d.count += 1;
        d.numbers(&.{ frame.kind, frame.flags, frame.stream, frame.sequence, @bitCast(frame.time_ns), frame.height });
        switch (frame.kind) {
            c.SLIPSTREAM_KIND_MAPPING_UPDATE => {
                const e = read(c.slipstream_mapping_update, c.slipstream_read_mapping_update, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{ e.program_id, e.mapping_name, e.key, e.value });
                d.numbers(&.{e.encoding});
            },
            c.SLIPSTREAM_KIND_MAPPING_REMOVAL => {
                const e = read(c.slipstream_mapping_removal, c.slipstream_read_mapping_removal, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{ e.program_id, e.mapping_name, e.key });
                d.numbers(&.{e.encoding});
            },
            c.SLIPSTREAM_KIND_STAKING_REWARD => {
                const e = read(c.slipstream_staking_reward, c.slipstream_read_staking_reward, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{ e.staker, e.validator });
                d.numbers(&.{ e.encoding, e.reward, e.new_stake });
            },
            c.SLIPSTREAM_KIND_BLOCK => {
                const e = read(c.slipstream_block, c.slipstream_read_block, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{e.block});
                d.numbers(&.{e.encoding});
            },
            c.SLIPSTREAM_KIND_PAYLOAD => {
                const e = read(c.slipstream_payload, c.slipstream_read_payload, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{ e.source, e.name, e.body });
                d.numbers(&.{e.encoding});
            },
            c.SLIPSTREAM_KIND_PEER_SEEN => {
                const e = read(c.slipstream_peer_seen, c.slipstream_read_peer_seen, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{ e.peer, e.public_key, e.name });
                d.numbers(&.{e.via});
            },
            c.SLIPSTREAM_KIND_PEER_FORGOTTEN => {
                const e = read(c.slipstream_peer_forgotten, c.slipstream_read_peer_forgotten, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{e.peer});
                d.numbers(&.{0});
            },
            else => {
                const e = read(c.slipstream_bytes, c.slipstream_read_app, frame, &status);
                if (status != c.SLIPSTREAM_OK) return status;
                d.spans(&.{e});
                d.numbers(&.{0});
            },
        }
        return c.SLIPSTREAM_OK;
    }
};

fn onLoad(instance: ?*anyopaque, _: [*c]const u8, _: usize, _: u32) callconv(.c) i32 {
    const self = Plugin.of(instance);
    const found = self.host.get_extension.?(self.host.ctx, c.SLIPSTREAM_EXT_CONFIG) orelse
        return self.fail(c.SLIPSTREAM_UNSUPPORTED, "no slipstream.config/1");
    const config: *const c.slipstream_config_v1 = @ptrCast(@alignCast(found));
    var len: usize = self.out.len - 1;
    if (config.get_text.?(self.host.ctx, "/out", &self.out, &len) != c.SLIPSTREAM_OK)
        return self.fail(c.SLIPSTREAM_INVALID_CONFIG, "out: a path is needed");
    self.out[len] = 0;
    return c.SLIPSTREAM_OK;
}

fn onUnload(instance: ?*anyopaque, _: u32) callconv(.c) i32 {
    const self = Plugin.of(instance);
    var text: [128]u8 = undefined;
    const line = std.fmt.bufPrint(&text, "events {d} {x:0>16} gaps {d} {x:0>16}\n", .{
        self.events.count, self.events.value, self.gaps.count, self.gaps.value,
    }) catch return self.fail(c.SLIPSTREAM_FAILED, "the line does not fit");
    const file = fopen(&self.out, "w") orelse return self.fail(c.SLIPSTREAM_IO, "cannot write");
    const written = fwrite(line.ptr, 1, line.len, file);
    if (fclose(file) != 0 or written != line.len) return self.fail(c.SLIPSTREAM_IO, "cannot write");
    return c.SLIPSTREAM_OK;
}

fn subscribedEvents(_: ?*anyopaque) callconv(.c) u64 {
    const first = @as(u64, 1) << c.SLIPSTREAM_KIND_APP_FIRST;
    return ~(first - 1) | ((@as(u64, 1) << c.SLIPSTREAM_KIND_MARK) - 1);
}

fn onBroadcast(instance: ?*anyopaque, _: [*c]const c.slipstream_delivery, frames: [*c]const u8, len: usize) callconv(.c) i32 {
    const self = Plugin.of(instance);
    var frame: c.slipstream_frame = undefined;
    var at: usize = 0;
    while (true) {
        var status = c.slipstream_next_frame(frames, len, &at, &frame);
        if (status == c.SLIPSTREAM_END) return c.SLIPSTREAM_OK;
        if (status == c.SLIPSTREAM_OK) status = self.take(&frame);
        if (status != c.SLIPSTREAM_OK) return self.fail(status, "unreadable frame");
    }
}

fn nameAt(_: ?*anyopaque, index: u32) callconv(.c) [*c]const u8 {
    return if (index == 0) "org.example.ping" else null;
}

const names = c.slipstream_payload_v1{ .struct_size = @sizeOf(c.slipstream_payload_v1), .reserved = 0, .name_at = nameAt };

fn getExtension(_: ?*anyopaque, id: [*c]const u8) callconv(.c) ?*const anyopaque {
    return if (std.mem.orderZ(u8, id, c.SLIPSTREAM_EXT_PAYLOAD) == .eq) &names else null;
}

fn destroy(instance: ?*anyopaque) callconv(.c) void {
    std.heap.c_allocator.destroy(Plugin.of(instance));
}

export fn slipstream_create_plugin_v1(host: *const c.slipstream_host) ?*const c.slipstream_plugin {
    const self = std.heap.c_allocator.create(Plugin) catch return null;
    self.* = .{ .host = host, .table = .{
        .struct_size = @sizeOf(c.slipstream_plugin),
        .abi_minor = c.SLIPSTREAM_ABI_MINOR,
        .min_host_minor = 0,
        .flags = c.SLIPSTREAM_FLAG_MULTI_INSTANCE | c.SLIPSTREAM_FLAG_BATCH,
        .instance = self,
        .name = "digest",
        .version = "1.0.0",
        .destroy = destroy,
        .on_load = onLoad,
        .on_unload = onUnload,
        .subscribed_events = subscribedEvents,
        .on_broadcast = onBroadcast,
        .flush = null,
        .get_extension = getExtension,
    } };
    return &self.table;
}

const info = c.SLIPSTREAM_INFO_MAGIC ++
    \\{"name": "digest", "version": "1.0.0", "abi": 1, "requires": ["slipstream.config/1"],
    \\ "flags": ["MULTI_INSTANCE", "BATCH"],
    \\ "config_schema": {"type": "object", "required": ["out"],
    \\                   "properties": {"out": {"type": "string"}}},
    \\ "sample_config": {"out": "digest.txt"}}
;
export const slipstream_info_v1: [info.len:0]u8 = info.*;
