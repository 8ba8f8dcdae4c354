//! Peers that together want more memory than a loop may hold for them.

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::client::{Answer, Client, get, post, post_chunked};
use super::report::{Finding, bytes};
use super::target::{Kind, Place, Start, Target};
use super::{Extent, Findings};
use crate::process_cost::{peak_rss_bytes, reset_peak_rss};

/// The hard mark.
const HARD: i64 = 32 << 20;
const UPLOADS: usize = 64;
/// What may be resident beside: the free blocks of 64 KiB and write buffers of 16 KiB that the pool keeps, 64 of each.
const POOL: i64 = 5 << 20;
/// The largest piece that a client sends.
const SEGMENT: usize = 128 * 1024;
static ZEROS: [u8; SEGMENT] = [0; SEGMENT];

/// Bodies that a handler wants whole.
#[derive(Clone, Copy)]
enum Uploads {
    /// 4 MiB each.
    Alike,
    /// 64 KiB to 8 MiB, as many between each size and its double as between any other.
    OfAnySize,
    /// The same, every third chunked: how long it will be it does not say.
    SomeChunked,
}

impl Uploads {
    fn size(self) -> usize {
        match self {
            Uploads::Alike => 4 << 20,
            _ => ((64 << 10) as f64 * 128_f64.powf(fastrand::f64())) as usize,
        }
    }

    fn is_chunked(self, number: usize) -> bool {
        matches!(self, Uploads::SomeChunked) && number.is_multiple_of(3)
    }
}

pub(super) fn more_than_there_is(place: &Place, extent: Extent) -> Findings {
    let arguments = ["--memory", &HARD.to_string()];
    let start = Start { arguments: &arguments, limit: extent.limit_unjudged(), ..Start::default() };
    let target = place.start(Kind::Waterspout, start)?;
    let mut polite = Client::new(target.connect()?);
    polite.ask(get("/plaintext").as_bytes())?;
    reset_peak_rss(target.running.pid())?;
    let before = peak_rss_bytes(target.running.pid())?;
    let mut findings = Vec::new();
    for (what, uploads) in [
        ("64 bodies of 4 MiB wanted whole, and a budget of 32 MiB", Uploads::Alike),
        ("then 64 of 64 KiB to 8 MiB", Uploads::OfAnySize),
        ("then the same, every third chunked", Uploads::SomeChunked),
    ] {
        let wave = wave(&target, uploads)?;
        let grown = (peak_rss_bytes(target.running.pid())? - before) as i64;
        let holds = grown <= HARD + POOL && wave.refused == 0 && wave.others > 0;
        let (served, others) = (UPLOADS - wave.refused - wave.refused_chunked, wave.others);
        let seen = format!("{served} served, {}; others served {others} times meanwhile", bytes(grown));
        let bound = "all that say how long they are served; resident 32 MiB and the pool's 5";
        findings.push(Finding::fact(what, bound, seen, holds));
    }
    polite.ask(get("/plaintext").as_bytes())?;
    Ok(findings)
}

#[derive(Default)]
struct Wave {
    refused: usize,
    /// Of those that did not say how long they would be.
    refused_chunked: usize,
    /// How often somebody else was served meanwhile.
    others: u64,
}

/// All at once.
fn wave(target: &Target, uploads: Uploads) -> Result<Wave, Box<dyn Error>> {
    let mut clients = Vec::new();
    for number in 0..UPLOADS {
        let (client, is_chunked, size) =
            (Client::new(target.connect()?), uploads.is_chunked(number), uploads.size());
        clients.push((is_chunked, thread::spawn(move || upload(client, size, is_chunked))));
    }
    let mut wave = Wave::default();
    while clients.iter().any(|(_, client)| !client.is_finished()) {
        // Who holds nothing is served, or told why not.
        let status = Client::new(target.connect()?).ask(get("/plaintext").as_bytes())?.status;
        if !matches!(status, 200 | 503) {
            return Err(format!("somebody else is answered {status}").into());
        }
        wave.others += u64::from(status == 200);
        thread::sleep(Duration::from_millis(5)); // somebody else, and no load of its own
    }
    for (is_chunked, client) in clients {
        let answer = client.join().map_err(|_| io::Error::other("an upload panicked"))?;
        let refused = usize::from(!answer.is_ok_and(|answer| answer.status == 200));
        if is_chunked { wave.refused_chunked += refused } else { wave.refused += refused }
    }
    Ok(wave)
}

fn upload(mut client: Client, size: usize, is_chunked: bool) -> io::Result<Answer> {
    let head = if is_chunked { post_chunked("/form") } else { post("/form", size as u64) };
    client.stream.write_all(head.as_bytes())?;
    let mut left = size;
    while left > 0 {
        let segment = fastrand::usize(1..=SEGMENT).min(left);
        let framed = match is_chunked {
            false => client.stream.write_all(&ZEROS[..segment]),
            true => {
                let mut chunk = format!("{segment:x}\r\n").into_bytes();
                chunk.extend_from_slice(&ZEROS[..segment]);
                chunk.extend_from_slice(b"\r\n");
                client.stream.write_all(&chunk)
            }
        };
        if framed.is_err() {
            break; // who is refused is not listened to
        }
        left -= segment;
    }
    if is_chunked {
        let _ = client.stream.write_all(b"0\r\n\r\n");
    }
    client.answer()
}
