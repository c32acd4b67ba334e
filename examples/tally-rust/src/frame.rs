//! Reads frames; every length is checked before it is followed.
//!
//! SPDX-License-Identifier: Apache-2.0

use crate::abi::*;

const HEADER_LEN: usize = 48;
const FRAME_MAX: usize = 67_108_864;
const CRITICAL: u32 = 0xFFFF_0000;

/// What tally wants to know of an event.
pub enum Event<'a> {
    Update {
        program: &'a [u8],
        mapping: &'a [u8],
    },
    Removal {
        program: &'a [u8],
        mapping: &'a [u8],
    },
    Gap {
        count: u64,
        reasons: u32,
    },
    Other,
}

pub struct Frame<'a> {
    pub kind: u16,
    payload: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl<'a> Frame<'a> {
    /// The first frame of `run`, and the rest of the run. Err: MALFORMED, or UNSUPPORTED for an
    /// unknown critical flag.
    pub fn first(run: &'a [u8]) -> Result<(Frame<'a>, &'a [u8]), i32> {
        if run.len() < HEADER_LEN {
            return Err(MALFORMED);
        }
        let frame_len = u32_at(run, 0) as usize;
        let header_len = u16::from_le_bytes([run[4], run[5]]) as usize;
        let payload_len = u32_at(run, 12) as usize;
        if frame_len > run.len()
            || frame_len > FRAME_MAX
            || frame_len % 8 != 0
            || header_len < HEADER_LEN
            || header_len % 8 != 0
            || header_len > frame_len
            || payload_len > frame_len - header_len
        {
            return Err(MALFORMED);
        }
        if u32_at(run, 8) & CRITICAL != 0 {
            return Err(UNSUPPORTED);
        }
        let kind = u16::from_le_bytes([run[6], run[7]]);
        let payload = &run[header_len..header_len + payload_len];
        Ok((Frame { kind, payload }, &run[frame_len..]))
    }

    /// Err: MALFORMED, or IGNORED for a kind that is not known here.
    pub fn event(&self) -> Result<Event<'a>, i32> {
        match self.kind {
            KIND_MAPPING_UPDATE => {
                let fixed = self.fixed(40)?;
                let (program, mapping) = (self.span(fixed, 8)?, self.span(fixed, 16)?);
                self.span(fixed, 24)?;
                self.span(fixed, 32)?;
                Ok(Event::Update { program, mapping })
            }
            KIND_MAPPING_REMOVAL => {
                let fixed = self.fixed(32)?;
                let (program, mapping) = (self.span(fixed, 8)?, self.span(fixed, 16)?);
                self.optional_span(fixed, 24)?;
                Ok(Event::Removal { program, mapping })
            }
            KIND_STAKING_REWARD => {
                let fixed = self.fixed(40)?;
                self.span(fixed, 8)?;
                self.span(fixed, 16)?;
                Ok(Event::Other)
            }
            KIND_BLOCK => {
                let fixed = self.fixed(16)?;
                self.span(fixed, 8)?;
                Ok(Event::Other)
            }
            KIND_PAYLOAD => {
                let fixed = self.fixed(32)?;
                self.optional_span(fixed, 8)?;
                self.span(fixed, 16)?;
                self.span(fixed, 24)?;
                Ok(Event::Other)
            }
            KIND_GAP => {
                self.fixed(80)?;
                let count = u64_at(self.payload, 24);
                Ok(Event::Gap {
                    count,
                    reasons: u32_at(self.payload, 4),
                })
            }
            KIND_APP_FIRST..=KIND_APP_LAST => {
                self.fixed(8)?;
                Ok(Event::Other)
            }
            _ => Err(IGNORED),
        }
    }

    /// The length of the payload's fixed part, of which `known` bytes are needed.
    fn fixed(&self, known: usize) -> Result<usize, i32> {
        if self.payload.len() < known {
            return Err(MALFORMED);
        }
        let fixed = u32_at(self.payload, 0) as usize;
        if fixed < known || fixed % 8 != 0 || fixed > self.payload.len() {
            return Err(MALFORMED);
        }
        Ok(fixed)
    }

    fn optional_span(&self, fixed: usize, at: usize) -> Result<Option<&'a [u8]>, i32> {
        let offset = u32_at(self.payload, at) as usize;
        let len = u32_at(self.payload, at + 4) as usize;
        if offset == 0 && len == 0 {
            return Ok(None);
        }
        if offset < fixed || offset > self.payload.len() || len > self.payload.len() - offset {
            return Err(MALFORMED);
        }
        Ok(Some(&self.payload[offset..offset + len]))
    }

    fn span(&self, fixed: usize, at: usize) -> Result<&'a [u8], i32> {
        self.optional_span(fixed, at)?.ok_or(MALFORMED)
    }
}
