//! Frames, written as the table in slipstream.h says.
//!
//! SPDX-License-Identifier: Apache-2.0

/// What a frame's header says beside kind and lengths.
#[derive(Clone, Copy)]
pub struct Head {
    pub stream: u64,
    pub sequence: u64,
    pub time_ns: i64,
    pub height: u64,
    pub flags: u32,
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().div_ceil(8) * 8, 0);
}

/// A frame of one of the contract's kinds: the word behind fixed_len, spans (None is absent),
/// 64-bit numbers.
pub fn frame(
    head: &Head,
    kind: u16,
    word: u32,
    spans: &[Option<&[u8]>],
    numbers: &[u64],
) -> Vec<u8> {
    let fixed = 8 + 8 * (spans.len() + numbers.len());
    let mut payload = Vec::from((fixed as u32).to_le_bytes());
    payload.extend(word.to_le_bytes());
    payload.resize(fixed, 0);
    for (i, number) in numbers.iter().enumerate() {
        let at = 8 + 8 * (spans.len() + i);
        payload[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    for (i, span) in spans.iter().enumerate() {
        let Some(bytes) = span else { continue };
        pad(&mut payload);
        let offset = payload.len() as u32;
        payload.extend(*bytes);
        payload[8 + 8 * i..12 + 8 * i].copy_from_slice(&offset.to_le_bytes());
        payload[12 + 8 * i..16 + 8 * i].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    }
    whole(head, kind, payload)
}

/// A frame of an application's own kind.
pub fn app(head: &Head, kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut payload = vec![8, 0, 0, 0, 0, 0, 0, 0];
    payload.extend(bytes);
    whole(head, kind, payload)
}

fn whole(head: &Head, kind: u16, payload: Vec<u8>) -> Vec<u8> {
    let frame_len = (48 + payload.len()).div_ceil(8) * 8;
    let mut frame = Vec::with_capacity(frame_len);
    frame.extend((frame_len as u32).to_le_bytes());
    frame.extend(48u16.to_le_bytes());
    frame.extend(kind.to_le_bytes());
    frame.extend(head.flags.to_le_bytes());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(head.stream.to_le_bytes());
    frame.extend(head.sequence.to_le_bytes());
    frame.extend(head.time_ns.to_le_bytes());
    frame.extend(head.height.to_le_bytes());
    frame.extend(payload);
    pad(&mut frame);
    frame
}
