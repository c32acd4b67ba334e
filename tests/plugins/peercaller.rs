//! As caller.rs, but written with the crate: the body of a PAYLOAD is a command, and what came of it
//! is a line of the file "out".
//!
//!   send HOW PEER NAME LENGTH      lookup PEER FIELD      peer_at INDEX
//!   public_key                     sign TEXT              open TEXT
#![forbid(unsafe_code)]
mod config;

use config::Config;
use slipstream_plugin::*;
use std::io::Write;

struct Caller {
    host: Host,
    out: String,
}

impl Caller {
    fn tell(&self, command: &str, status: i32, number: u64, data: &[u8]) -> Result {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.out)?;
        Ok(file.write_all(format!("{command}|{status}|{number}|{hex}\n").as_bytes())?)
    }

    /// The number and the bytes of an answer.
    fn ask(&self, words: &[&str]) -> Result<(u64, Option<Vec<u8>>)> {
        let via = |word: &str| if word == "1" { Via::Direct } else { Via::Routed };
        Ok(match words {
            ["send", how, peer, name, length] => {
                let body = vec![b'b'; length.parse()?];
                let ticket = self.host.send(via(how), peer.as_bytes(), name.as_bytes(), &body)?;
                (ticket, Some(vec![]))
            }
            ["lookup", peer, "1"] => (1, self.host.lookup(peer.as_bytes(), PeerField::PublicKey)?),
            ["lookup", peer, _] => (2, self.host.lookup(peer.as_bytes(), PeerField::Name)?),
            ["peer_at", index] => (0, self.host.peer_at(index.parse()?)?),
            ["public_key"] => (0, Some(self.host.public_key()?)),
            ["sign", text] => (0, Some(self.host.sign(text.as_bytes())?.to_vec())),
            ["open", text] => (0, Some(self.host.open(text.as_bytes())?)),
            _ => return Err(Status::InvalidArgument.because("no such command")),
        })
    }
}

impl Plugin for Caller {
    type Config = Config;
    const KINDS: &'static [Kind] = &[Kind::PeerSeen, Kind::PeerForgotten];
    const OPTIONAL: &'static [&'static str] =
        &["slipstream.send/1", "slipstream.peers/1", "slipstream.identity/1"];
    const GRANTS: &'static [&'static str] = &["peers", "send", "identity.sign", "identity.open"];

    fn load(config: Config, start: &Start) -> Result<Caller> {
        Ok(Caller { host: start.host().clone(), out: config.out })
    }

    fn payload(&mut self, _: &Event, payload: Payload) -> Result<Outcome> {
        let command = std::str::from_utf8(payload.body)?;
        match self.ask(&command.split(' ').collect::<Vec<_>>()) {
            Ok((number, Some(data))) => self.tell(command, 0, number, &data)?,
            Ok((_, None)) => self.tell(command, Status::NotFound.number(), 0, &[])?,
            Err(error) => {
                let status = Status::of_error(&error).number();
                self.tell(command, status, 0, error.to_string().as_bytes())?;
            }
        }
        Ok(Outcome::Done)
    }

    fn peer_seen(&mut self, _: &Event, seen: PeerSeen) -> Result<Outcome> {
        let known = [seen.peer, seen.public_key.unwrap_or(b"-"), seen.name.unwrap_or(b"-")];
        self.tell("seen", seen.via as i32, 0, &known.join(&b' '))?;
        Ok(Outcome::Done)
    }

    fn peer_forgotten(&mut self, _: &Event, forgotten: PeerForgotten) -> Result<Outcome> {
        self.tell("forgotten", 0, 0, forgotten.peer)?;
        Ok(Outcome::Done)
    }
}

impl Names for Caller {
    fn payload_names(&self) -> Vec<String> {
        vec!["chat".into()]
    }
}

export!(Caller as "peercaller": names);
