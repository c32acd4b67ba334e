//! Events: views into the host's bytes, which live as long as the call. Every length is checked
//! before it is followed.

use crate::status::{Result, Status};
use crate::sys;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MappingUpdate,
    MappingRemoval,
    StakingReward,
    Block,
    Payload,
    /// Whoever subscribes to anything also gets these.
    Gap,
    PeerSeen,
    PeerForgotten,
    /// The application's own, 32 to 63.
    App(u8),
}

impl Kind {
    /// Its number in the contract.
    pub const fn number(self) -> u32 {
        match self {
            Kind::MappingUpdate => sys::KIND_MAPPING_UPDATE,
            Kind::MappingRemoval => sys::KIND_MAPPING_REMOVAL,
            Kind::StakingReward => sys::KIND_STAKING_REWARD,
            Kind::Block => sys::KIND_BLOCK,
            Kind::Payload => sys::KIND_PAYLOAD,
            Kind::Gap => sys::KIND_GAP,
            Kind::PeerSeen => sys::KIND_PEER_SEEN,
            Kind::PeerForgotten => sys::KIND_PEER_FORGOTTEN,
            Kind::App(number) => {
                assert!(number >= 32 && number <= 63, "Kind::App takes 32 to 63");
                number as u32
            }
        }
    }

    pub(crate) const fn set(kinds: &[Kind]) -> u64 {
        let (mut set, mut at) = (0, 0);
        while at < kinds.len() {
            set |= 1 << kinds[at].number();
            at += 1;
        }
        set
    }
}

/// A mapping got a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingUpdate<'a> {
    pub program_id: &'a [u8],
    pub mapping_name: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub encoding: u32,
}

/// A mapping lost a key, or, without one, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRemoval<'a> {
    pub program_id: &'a [u8],
    pub mapping_name: &'a [u8],
    pub key: Option<&'a [u8]>,
    pub encoding: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakingReward<'a> {
    pub staker: &'a [u8],
    pub validator: &'a [u8],
    pub reward: u64,
    pub new_stake: u64,
    pub encoding: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub block: &'a [u8],
    pub encoding: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    pub source: Option<&'a [u8]>,
    pub name: &'a [u8],
    pub body: &'a [u8],
    pub encoding: u32,
}

/// Neighbouring events that were lost. A plugin that must be complete answers `Status::Fatal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Ordinals.
    pub first: u64,
    pub last: u64,
    pub count: u64,
    /// A bit for each kind.
    pub kinds: u64,
    pub first_height: Option<u64>,
    pub last_height: Option<u64>,
    /// 0: of several, and so are the sequences.
    pub lost_stream: u64,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// `sys::GAP_*`
    pub reasons: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSeen<'a> {
    pub peer: &'a [u8],
    pub public_key: Option<&'a [u8]>,
    pub name: Option<&'a [u8]>,
    /// `sys::PEER_DIRECT` or `sys::PEER_ROUTED`
    pub via: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerForgotten<'a> {
    pub peer: &'a [u8],
}

/// An event of the application's own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    pub kind: u32,
    pub bytes: &'a [u8],
}

/// What an event says, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum View<'a> {
    MappingUpdate(MappingUpdate<'a>),
    MappingRemoval(MappingRemoval<'a>),
    StakingReward(StakingReward<'a>),
    Block(Block<'a>),
    Payload(Payload<'a>),
    Gap(Gap),
    PeerSeen(PeerSeen<'a>),
    PeerForgotten(PeerForgotten<'a>),
    App(App<'a>),
    /// Of a kind that a newer host knows.
    Unknown,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The number of its kind; see [`Event::view`].
    pub kind: u32,
    /// `sys::FRAME_*`
    pub flags: u32,
    /// With `sequence` the key to recognise a repeated event, and what to store; both are 0 for a gap.
    pub stream: u64,
    pub sequence: u64,
    /// Nanoseconds since 1970 UTC.
    pub time_ns: i64,
    pub height: Option<u64>,
    /// For `ack` and `reject`; never store it.
    pub ordinal: u64,
    /// Above 1 it may have been delivered before.
    pub attempt: u32,
    payload: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn height(number: u64) -> Option<u64> {
    (number != sys::HEIGHT_NONE).then_some(number)
}

/// The lengths of the first frame of `bytes`: all of it, its header, its payload.
fn lengths(bytes: &[u8]) -> Result<(usize, usize, usize)> {
    let least = sys::FRAME_HEADER_LEN as usize;
    if bytes.len() >= least {
        let whole = u32_at(bytes, 0) as usize;
        let header = (u32_at(bytes, 4) & 0xffff) as usize;
        let payload = u32_at(bytes, 12) as usize;
        let fits = whole <= bytes.len() && whole <= sys::FRAME_MAX as usize;
        if fits
            && whole % 8 == 0
            && header % 8 == 0
            && (least..=whole).contains(&header)
            && payload <= whole - header
        {
            return Ok((whole, header, payload));
        }
    }
    Err(Status::Malformed.because("the frame cannot be read"))
}

impl<'a> Event<'a> {
    /// The event that begins `bytes`, of which the lengths were checked.
    fn read(bytes: &'a [u8], (_, header, len): (usize, usize, usize)) -> Event<'a> {
        Event {
            kind: u32_at(bytes, 4) >> 16,
            flags: u32_at(bytes, 8),
            stream: u64_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            time_ns: u64_at(bytes, 32) as i64,
            height: height(u64_at(bytes, 40)),
            ordinal: 0,
            attempt: 1,
            payload: &bytes[header..header + len],
        }
    }

    /// What it says. Fails with `Malformed` if its bytes are not what they claim to be.
    pub fn view(&self) -> Result<View<'a>> {
        let malformed = || Status::Malformed.because("the event's payload is malformed");
        self.read_view().ok_or_else(malformed)
    }

    fn read_view(&self) -> Option<View<'a>> {
        Some(match self.kind {
            sys::KIND_MAPPING_UPDATE => {
                let fixed = self.fixed(40)?;
                View::MappingUpdate(MappingUpdate {
                    program_id: self.span(fixed, 8)??,
                    mapping_name: self.span(fixed, 16)??,
                    key: self.span(fixed, 24)??,
                    value: self.span(fixed, 32)??,
                    encoding: self.word(),
                })
            }
            sys::KIND_MAPPING_REMOVAL => {
                let fixed = self.fixed(32)?;
                View::MappingRemoval(MappingRemoval {
                    program_id: self.span(fixed, 8)??,
                    mapping_name: self.span(fixed, 16)??,
                    key: self.span(fixed, 24)?,
                    encoding: self.word(),
                })
            }
            sys::KIND_STAKING_REWARD => {
                let fixed = self.fixed(40)?;
                View::StakingReward(StakingReward {
                    staker: self.span(fixed, 8)??,
                    validator: self.span(fixed, 16)??,
                    reward: u64_at(self.payload, 24),
                    new_stake: u64_at(self.payload, 32),
                    encoding: self.word(),
                })
            }
            sys::KIND_BLOCK => {
                let fixed = self.fixed(16)?;
                View::Block(Block {
                    block: self.span(fixed, 8)??,
                    encoding: self.word(),
                })
            }
            sys::KIND_PAYLOAD => {
                let fixed = self.fixed(32)?;
                View::Payload(Payload {
                    source: self.span(fixed, 8)?,
                    name: self.span(fixed, 16)??,
                    body: self.span(fixed, 24)??,
                    encoding: self.word(),
                })
            }
            sys::KIND_GAP => {
                self.fixed(80)?;
                let number = |at| u64_at(self.payload, at);
                View::Gap(Gap {
                    first: number(8),
                    last: number(16),
                    count: number(24),
                    kinds: number(32),
                    first_height: height(number(40)),
                    last_height: height(number(48)),
                    lost_stream: number(56),
                    first_sequence: number(64),
                    last_sequence: number(72),
                    reasons: self.word(),
                })
            }
            sys::KIND_PEER_SEEN => {
                let fixed = self.fixed(40)?;
                View::PeerSeen(PeerSeen {
                    peer: self.span(fixed, 8)??,
                    public_key: self.span(fixed, 16)?,
                    name: self.span(fixed, 24)?,
                    via: self.word(),
                })
            }
            sys::KIND_PEER_FORGOTTEN => {
                let fixed = self.fixed(16)?;
                View::PeerForgotten(PeerForgotten {
                    peer: self.span(fixed, 8)??,
                })
            }
            sys::KIND_APP_FIRST..=sys::KIND_APP_LAST => {
                let fixed = self.fixed(8)?;
                View::App(App {
                    kind: self.kind,
                    bytes: &self.payload[fixed..],
                })
            }
            _ => View::Unknown,
        })
    }

    /// The length of the payload's fixed part, of which `known` bytes are needed.
    fn fixed(&self, known: usize) -> Option<usize> {
        if self.payload.len() < known {
            return None;
        }
        let fixed = u32_at(self.payload, 0) as usize;
        (fixed % 8 == 0 && (known..=self.payload.len()).contains(&fixed)).then_some(fixed)
    }

    fn word(&self) -> u32 {
        u32_at(self.payload, 4)
    }

    /// None: malformed; Some(None): absent.
    fn span(&self, fixed: usize, at: usize) -> Option<Option<&'a [u8]>> {
        let offset = u32_at(self.payload, at) as usize;
        let len = u32_at(self.payload, at + 4) as usize;
        if offset == 0 && len == 0 {
            return Some(None);
        }
        if offset < fixed {
            return None;
        }
        self.payload.get(offset..offset.checked_add(len)?).map(Some)
    }
}

/// The events of one call, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    frames: &'a [u8],
    first_ordinal: u64,
    attempt: u32,
    len: usize,
}

impl<'a> Run<'a> {
    /// Fails with `Malformed` for bytes that are not whole frames, with `Unsupported` for a critical
    /// flag that is not known.
    pub(crate) fn new(frames: &'a [u8], first_ordinal: u64, attempt: u32) -> Result<Run<'a>> {
        let (mut rest, mut len) = (frames, 0);
        while len == 0 || !rest.is_empty() {
            let (whole, _, _) = lengths(rest)?;
            if u32_at(rest, 8) & sys::FRAME_CRITICAL != 0 {
                return Err(Status::Unsupported.because("the frame has a critical flag"));
            }
            rest = &rest[whole..];
            len += 1;
        }
        Ok(Run {
            frames,
            first_ordinal,
            attempt,
            len,
        })
    }

    /// How many there are: at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Above 1 they may have been delivered before.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// For `ack`, which takes all of the run with it.
    pub fn last_ordinal(&self) -> u64 {
        self.first_ordinal.wrapping_add(self.len as u64 - 1)
    }

    /// The events.
    pub fn iter(&self) -> Events<'a> {
        Events {
            rest: self.frames,
            ordinal: self.first_ordinal,
            attempt: self.attempt,
        }
    }
}

impl<'a> IntoIterator for &Run<'a> {
    type Item = Event<'a>;
    type IntoIter = Events<'a>;

    fn into_iter(self) -> Events<'a> {
        self.iter()
    }
}

/// The events of a run.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
    ordinal: u64,
    attempt: u32,
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let lengths = lengths(self.rest).ok()?; // behind the last there is none
        let mut event = Event::read(self.rest, lengths);
        event.ordinal = self.ordinal;
        event.attempt = self.attempt;
        self.rest = &self.rest[lengths.0..];
        self.ordinal = self.ordinal.wrapping_add(1);
        Some(event)
    }
}
