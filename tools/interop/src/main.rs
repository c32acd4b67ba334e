//! `interop make SEED COUNT` prints random values, a line each: bytes and text in hexadecimal.
//! `interop read` does the same for each line of its input, which is `b` and bytes or `t` and
//! text; what snarkVM refuses becomes `-`.

use snarkvm_console_network::MainnetV0;
use snarkvm_console_network::prelude::*;
use snarkvm_console_program::*;
use std::io::{self, BufRead, Write};

type N = MainnetV0;

fn below(rng: &mut TestRng, end: usize) -> usize {
    u32::rand(rng) as usize % end
}

fn name(rng: &mut TestRng, number: usize) -> Identifier<N> {
    let letters = [
        "a",
        "Zz",
        "owner_",
        "x__9",
        "program_id",
        "twenty_letters_and_on",
    ];
    Identifier::from_str(&format!("{}{number}", letters[below(rng, letters.len())])).unwrap()
}

fn program(rng: &mut TestRng) -> ProgramID<N> {
    let names = [
        "credits.aleo",
        "a.aleo",
        "a_2.aleo",
        "b23456789_123456789_123456789_1.aleo",
    ];
    ProgramID::from_str(names[below(rng, names.len())]).unwrap()
}

fn literal(rng: &mut TestRng) -> Literal<N> {
    let kinds: Vec<LiteralType> = enum_iterator::all().collect();
    Literal::sample(kinds[below(rng, kinds.len())], rng)
}

fn plaintext(rng: &mut TestRng, depth: usize) -> Plaintext<N> {
    let count = 1 + below(rng, 4);
    match below(rng, if depth == 0 { 1 } else { 3 }) {
        0 => Plaintext::from(literal(rng)),
        1 => Plaintext::Struct(
            (0..count)
                .map(|at| (name(rng, at), plaintext(rng, depth - 1)))
                .collect(),
            Default::default(),
        ),
        _ => Plaintext::Array(
            (0..count).map(|_| plaintext(rng, depth - 1)).collect(),
            Default::default(),
        ),
    }
}

fn entry(rng: &mut TestRng) -> Entry<N, Plaintext<N>> {
    let inner = plaintext(rng, 2);
    match below(rng, 3) {
        0 => Entry::Constant(inner),
        1 => Entry::Public(inner),
        _ => Entry::Private(inner),
    }
}

fn record(rng: &mut TestRng) -> Record<N, Plaintext<N>> {
    let address = Address::rand(rng);
    let owner = match below(rng, 2) {
        0 => Owner::Public(address),
        _ => Owner::Private(Plaintext::from(Literal::Address(address))),
    };
    let count = below(rng, 4);
    let entries = (0..count).map(|at| (name(rng, at), entry(rng))).collect();
    let version = U8::new(below(rng, 2) as u8);
    Record::<N, Plaintext<N>>::from_plaintext(owner, entries, Group::rand(rng), version).unwrap()
}

fn dynamic_record(rng: &mut TestRng) -> DynamicRecord<N> {
    let version = U8::new(below(rng, 256) as u8);
    let (owner, root, nonce) = (Address::rand(rng), Field::rand(rng), Group::rand(rng));
    DynamicRecord::new_unchecked(owner, root, nonce, version, None)
}

fn dynamic_future(rng: &mut TestRng) -> DynamicFuture<N> {
    let id = program(rng);
    let mut names = [*id.name(), *id.network(), name(rng, 0)].map(|part| part.to_field().unwrap());
    if below(rng, 3) == 0 {
        names[below(rng, 3)] = Field::rand(rng);
    }
    DynamicFuture::new_unchecked(names[0], names[1], names[2], Field::rand(rng), None)
}

fn future(rng: &mut TestRng, depth: usize) -> Future<N> {
    let count = below(rng, 4);
    let arguments = (0..count)
        .map(|_| match below(rng, if depth == 0 { 2 } else { 3 }) {
            0 => Argument::Plaintext(plaintext(rng, 2)),
            1 => Argument::DynamicFuture(dynamic_future(rng)),
            _ => Argument::Future(future(rng, depth - 1)),
        })
        .collect();
    Future::new(program(rng), name(rng, 1), arguments)
}

fn value(rng: &mut TestRng) -> Value<N> {
    match below(rng, 8) {
        0 => Value::Record(record(rng)),
        1 => Value::Future(future(rng, 2)),
        2 => Value::DynamicRecord(dynamic_record(rng)),
        3 => Value::DynamicFuture(dynamic_future(rng)),
        _ => Value::Plaintext(plaintext(rng, 3)),
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// Returns what a line says, if snarkVM takes all of it.
fn read(line: &str) -> Option<Value<N>> {
    let data = unhex(&line[1..]);
    if line.starts_with('t') {
        return Value::from_str(std::str::from_utf8(&data).ok()?).ok();
    }
    let mut rest = data.as_slice();
    let value = Value::read_le(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut show = |value: Option<Value<N>>| match value.map(|it| (it.to_bytes_le(), it)) {
        Some((Ok(data), value)) => {
            writeln!(out, "{} {}", hex(&data), hex(value.to_string().as_bytes()))
        }
        _ => writeln!(out, "-"),
    };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["make", seed, count] => {
            // Never dropped: it would print how often it was called.
            let seed = seed.parse().expect("SEED is a number");
            let rng = Box::leak(Box::new(TestRng::from_seed(seed)));
            for _ in 0..count.parse().expect("COUNT is a number") {
                show(Some(value(rng)))?;
            }
        }
        ["read"] => {
            for line in io::stdin().lock().lines() {
                show(read(&line?))?;
            }
        }
        _ => panic!("interop make SEED COUNT, or interop read"),
    }
    Ok(())
}
