//! `slipstream_info_v1`, made while the plugin is compiled.

use crate::event::Kind;
use crate::sys;

/// What a plugin says of itself.
#[doc(hidden)]
pub struct Info<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub licence: &'a str,
    pub url: &'a str,
    pub flags: u32,
    pub kinds: &'a [Kind],
    pub requires: &'a [&'a str],
    pub optional: &'a [&'a str],
    pub grants: &'a [&'a str],
    pub schema: Option<&'a str>,
    pub sample: &'a str,
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// With N 0 it only measures.
impl<const N: usize> Writer<N> {
    const fn byte(&mut self, byte: u8) {
        if N != 0 {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    const fn put(&mut self, text: &str) {
        let (bytes, mut at) = (text.as_bytes(), 0);
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    const fn quoted(&mut self, text: &str) {
        let (bytes, mut at) = (text.as_bytes(), 0);
        self.byte(b'"');
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b'"' || byte == b'\\' {
                self.byte(b'\\');
            }
            self.byte(if byte < b' ' { b' ' } else { byte });
            at += 1;
        }
        self.byte(b'"');
    }

    const fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(", \"");
            self.put(key);
            self.put("\": ");
            self.quoted(value);
        }
    }

    const fn json(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(", \"");
            self.put(key);
            self.put("\": ");
            self.put(value);
        }
    }

    const fn list(&mut self, key: &str, values: &[&str]) {
        if values.is_empty() {
            return;
        }
        self.json(key, "[");
        let mut at = 0;
        while at < values.len() {
            self.put(if at == 0 { "" } else { ", " });
            self.quoted(values[at]);
            at += 1;
        }
        self.byte(b']');
    }

    const fn number(&mut self, number: u32) {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10) as u8);
    }

    const fn whole(&mut self, info: &Info<'_>) {
        self.put(sys::INFO_MAGIC);
        self.put("{\"abi\": ");
        self.number(sys::ABI_MAJOR);
        self.text("name", info.name);
        self.text("version", info.version);
        self.text("licence", info.licence);
        self.text("url", info.url);
        self.put(", \"kinds\": [");
        let mut at = 0;
        while at < info.kinds.len() {
            self.put(if at == 0 { "" } else { ", " });
            self.number(info.kinds[at].number());
            at += 1;
        }
        self.put("], \"flags\": [");
        let (mut bit, mut first) = (0, true);
        while bit < FLAGS.len() {
            if info.flags & FLAGS[bit].0 != 0 {
                self.put(if first { "" } else { ", " });
                self.quoted(FLAGS[bit].1);
                first = false;
            }
            bit += 1;
        }
        self.put("]");
        self.list("requires", info.requires);
        self.list("optional", info.optional);
        self.list("grants", info.grants);
        if let Some(schema) = info.schema {
            self.json("config_schema", schema);
        }
        self.json("sample_config", info.sample);
        self.put("}\0");
    }
}

const FLAGS: [(u32, &str); 5] = [
    (sys::FLAG_RESIDENT, "RESIDENT"),
    (sys::FLAG_PROMPT, "PROMPT"),
    (sys::FLAG_MULTI_INSTANCE, "MULTI_INSTANCE"),
    (sys::FLAG_EXPLICIT_ACK, "EXPLICIT_ACK"),
    (sys::FLAG_BATCH, "BATCH"),
];

/// How long the info is, with its NUL.
#[doc(hidden)]
pub const fn info_len(info: &Info<'_>) -> usize {
    check_name(info.name);
    let mut writer = Writer::<0> { bytes: [], len: 0 };
    writer.whole(info);
    assert!(
        writer.len <= sys::INFO_MAX as usize,
        "the info of a plugin, its config_schema included, has at most 65,536 bytes"
    );
    writer.len
}

/// The info.
#[doc(hidden)]
pub const fn info<const N: usize>(info: &Info<'_>) -> [u8; N] {
    let mut writer = Writer::<N> {
        bytes: [0; N],
        len: 0,
    };
    writer.whole(info);
    writer.bytes
}

const fn check_name(name: &str) {
    let (bytes, mut at) = (name.as_bytes(), 0);
    let mut good = !bytes.is_empty() && bytes.len() <= sys::NAME_MAX as usize;
    while at < bytes.len() {
        let byte = bytes[at];
        let first = byte.is_ascii_lowercase() || byte.is_ascii_digit();
        good = good && (first || at != 0 && matches!(byte, b'.' | b'_' | b'-'));
        at += 1;
    }
    assert!(
        good,
        "a plugin's name has 1 to 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first; \
         say it in export!(Plugin as \"...\") where the package has another"
    );
}
