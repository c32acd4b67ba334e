//! The counts and their table, line by line the same as that of the C tally.
//!
//! Nothing is allocated after `Tally::reserve`: no event can run out of memory.
//!
//! SPDX-License-Identifier: Apache-2.0

use crate::abi::*;
use crate::frame::{Event, Frame};
use std::cmp::Ordering;
use std::collections::TryReserveError;
use std::fmt::{self, Write};

const PROGRAM_MAX: usize = 64; // bytes; a valid program id has at most 64, a mapping's name 32
const MAPPING_MAX: usize = 32;
const IDENTIFIER_MAX: usize = 31;
const OTHER: &str = "(other)";

const KIND_NAMES: [&str; 6] = [
    "mapping_update",
    "mapping_removal",
    "staking_reward",
    "block",
    "payload",
    "gap",
];
const REASON_NAMES: [&str; 7] = [
    "dropped_newest",
    "dropped_oldest",
    "block_timeout",
    "dead_letter",
    "too_large",
    "paused",
    "reload",
];

/// Text of at most N bytes without an allocation; what is longer is an error.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Text {
            bytes: [0; N],
            len: 0,
        };
        text.write_fmt(arguments).expect("a text within its buffer");
        text
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("whole characters were written")
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

type Line = Text<320>;
type Name = Text<160>;

pub fn kind_name(kind: usize) -> Text<16> {
    match KIND_NAMES.get(kind) {
        Some(name) => Text::new(format_args!("{name}")),
        None => Text::new(format_args!("app_{kind}")),
    }
}

/// The identifier at the start of `bytes`, and what follows it: u8 n, then n characters.
fn identifier(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&n, rest) = bytes.split_first()?;
    let n = usize::from(n);
    if n == 0 || n > IDENTIFIER_MAX || n > rest.len() || !rest[0].is_ascii_alphabetic() {
        return None;
    }
    let (name, rest) = rest.split_at(n);
    let legal = name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_');
    Some((std::str::from_utf8(name).ok().filter(|_| legal)?, rest))
}

fn program_text(bytes: &[u8]) -> Option<Name> {
    let (name, rest) = identifier(bytes)?;
    let (network, rest) = identifier(rest)?;
    rest.is_empty()
        .then(|| Text::new(format_args!("{name}.{network}")))
}

fn mapping_text(bytes: &[u8]) -> Option<Name> {
    let (name, rest) = identifier(bytes)?;
    rest.is_empty().then(|| Text::new(format_args!("{name}")))
}

fn hex(bytes: &[u8]) -> Name {
    let mut text = Text::new(format_args!("0x"));
    for byte in bytes {
        write!(text, "{byte:02x}").expect("names have at most 64 bytes");
    }
    text
}

#[derive(Clone, Copy)]
struct Row {
    updates: u64,
    removals: u64,
    program_len: usize,
    mapping_len: usize,
    program: [u8; PROGRAM_MAX],
    mapping: [u8; MAPPING_MAX],
}

impl Row {
    const EMPTY: Row = Row {
        updates: 0,
        removals: 0,
        program_len: 0,
        mapping_len: 0,
        program: [0; PROGRAM_MAX],
        mapping: [0; MAPPING_MAX],
    };

    fn names(&self) -> (&[u8], &[u8]) {
        (
            &self.program[..self.program_len],
            &self.mapping[..self.mapping_len],
        )
    }

    fn total(&self) -> u64 {
        self.updates.wrapping_add(self.removals)
    }

    fn texts(&self) -> (Name, Name) {
        let (program, mapping) = self.names();
        (
            program_text(program).unwrap_or_else(|| hex(program)),
            mapping_text(mapping).unwrap_or_else(|| hex(mapping)),
        )
    }
}

pub struct Tally {
    rows: Vec<Row>, // in the order of their names
    order: Vec<usize>,
    max_rows: usize,
    other: Row,
    kinds: [u64; 64],
    lost: u64,
    lost_reasons: u32,
    pub events: u64, // without gaps
    /// Not yet given to the metrics.
    pub fresh: [u64; 64],
    pub fresh_kinds: u64,
    pub fresh_lost: u64,
}

impl Tally {
    pub const EMPTY: Tally = Tally {
        rows: Vec::new(),
        order: Vec::new(),
        max_rows: 0,
        other: Row::EMPTY,
        kinds: [0; 64],
        lost: 0,
        lost_reasons: 0,
        events: 0,
        fresh: [0; 64],
        fresh_kinds: 0,
        fresh_lost: 0,
    };

    pub fn reserve(&mut self, max_rows: usize) -> Result<(), TryReserveError> {
        self.rows.try_reserve_exact(max_rows)?;
        self.order.try_reserve_exact(max_rows)?;
        self.max_rows = max_rows;
        Ok(())
    }

    pub fn count(&mut self, frame: &Frame, event: &Event) {
        let kind = usize::from(frame.kind);
        self.kinds[kind] += 1;
        self.fresh[kind] += 1;
        self.fresh_kinds |= 1 << kind;
        match *event {
            Event::Gap { count, reasons } => {
                self.lost = self.lost.wrapping_add(count);
                self.fresh_lost = self.fresh_lost.wrapping_add(count);
                self.lost_reasons |= reasons;
                return;
            }
            Event::Update { program, mapping } => self.row(program, mapping).updates += 1,
            Event::Removal { program, mapping } => self.row(program, mapping).removals += 1,
            Event::Other => {}
        }
        self.events += 1;
    }

    /// The row of a mapping, made if there is room for it.
    fn row(&mut self, program: &[u8], mapping: &[u8]) -> &mut Row {
        if program.len() > PROGRAM_MAX || mapping.len() > MAPPING_MAX {
            return &mut self.other;
        }
        match self
            .rows
            .binary_search_by(|row| row.names().cmp(&(program, mapping)))
        {
            Ok(at) => &mut self.rows[at],
            Err(_) if self.rows.len() == self.max_rows => &mut self.other,
            Err(at) => {
                let mut row = Row::EMPTY;
                row.program_len = program.len();
                row.mapping_len = mapping.len();
                row.program[..program.len()].copy_from_slice(program);
                row.mapping[..mapping.len()].copy_from_slice(mapping);
                self.rows.insert(at, row);
                &mut self.rows[at]
            }
        }
    }

    pub fn totals(&self) -> Line {
        Text::new(format_args!("{} events, {} lost", self.events, self.lost))
    }

    /// Hands the table to `log`, line by line.
    pub fn table(&mut self, log: impl Fn(&str)) {
        log(self.totals().as_str());
        let gaps = self.kinds[usize::from(KIND_GAP)];
        if gaps != 0 {
            let mut line: Line = Text::new(format_args!("lost in {gaps} gaps:"));
            for (bit, name) in REASON_NAMES.iter().enumerate() {
                if self.lost_reasons >> bit & 1 == 1 {
                    write!(line, " {name}").expect("all names fit");
                }
            }
            log(line.as_str());
        }
        for (kind, &count) in self
            .kinds
            .iter()
            .enumerate()
            .filter(|(_, &count)| count != 0)
        {
            let line: Line = Text::new(format_args!(
                "{:<15}  {count:>12}",
                kind_name(kind).as_str()
            ));
            log(line.as_str());
        }
        self.mappings(log);
    }

    fn mappings(&mut self, log: impl Fn(&str)) {
        let rows = &self.rows;
        self.order.clear();
        self.order.extend(0..rows.len());
        // The busiest first; a tie in the order of the names, which is that of the rows.
        self.order
            .sort_unstable_by(|&a, &b| match rows[b].total().cmp(&rows[a].total()) {
                Ordering::Equal => a.cmp(&b),
                order => order,
            });
        let other = (self.other.total() != 0).then_some(&self.other);
        if rows.is_empty() && other.is_none() {
            return;
        }
        let (mut wide_program, mut wide_mapping) = ("program".len(), "mapping".len());
        for (program, mapping) in rows.iter().map(Row::texts) {
            wide_program = wide_program.max(program.as_str().len());
            wide_mapping = wide_mapping.max(mapping.as_str().len());
        }
        let line = |program: &str,
                    mapping: &str,
                    updates: &dyn fmt::Display,
                    removals: &dyn fmt::Display| {
            let text: Line = Text::new(format_args!(
                "{program:<wide_program$}  {mapping:<wide_mapping$}  {updates:>12}  {removals:>12}"
            ));
            log(text.as_str());
        };
        line("program", "mapping", &"updates", &"removals");
        for row in self.order.iter().map(|&at| &rows[at]) {
            let (program, mapping) = row.texts();
            line(
                program.as_str(),
                mapping.as_str(),
                &row.updates,
                &row.removals,
            );
        }
        if let Some(row) = other {
            line(OTHER, OTHER, &row.updates, &row.removals);
        }
    }
}
