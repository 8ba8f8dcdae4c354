//! Peers that together want more memory than a loop may hold for them.

use std::io::{self, Write};
use std::thread;

use super::client::{Client, get, post};
use super::report::{Finding, bytes};
use super::target::{Kind, Place, Start};
use super::{Extent, Findings};
use crate::process_cost::{peak_rss_bytes, reset_peak_rss};

/// The hard mark.
const HARD: i64 = 32 << 20;
const UPLOADS: usize = 64;
/// Of each; the handler wants it whole.
const UPLOAD: usize = 4 << 20;
/// What may be resident: the budget counts what is asked of the allocator, and bodies that grow side by side leave it with holes of
/// the sizes that they had before. Without a budget it would be three times this.
const RESIDENT: i64 = (UPLOADS * UPLOAD / 3) as i64;

pub(super) fn more_than_there_is(place: &Place, _extent: Extent) -> Findings {
    let arguments = ["--memory", &HARD.to_string()];
    let target = place.start(Kind::Waterspout, Start { arguments: &arguments, ..Start::default() })?;
    let mut polite = Client::new(target.connect()?);
    polite.ask(get("/plaintext").as_bytes())?;
    reset_peak_rss(target.running.pid())?;
    let before = peak_rss_bytes(target.running.pid())?;
    let mut uploads = Vec::new();
    for _ in 0..UPLOADS {
        let mut client = Client::new(target.connect()?);
        uploads.push(thread::spawn(move || {
            client.stream.write_all(post("/form", UPLOAD as u64).as_bytes())?;
            let _ = client.stream.write_all(&vec![b'x'; UPLOAD]); // who is refused is not listened to
            client.answer()
        }));
    }
    let mut served = 0;
    while uploads.iter().any(|upload| !upload.is_finished()) {
        // Who holds nothing is served, or told why not.
        let mut newcomer = Client::new(target.connect()?);
        let status = newcomer.ask(get("/plaintext").as_bytes())?.status;
        if !matches!(status, 200 | 503) {
            return Err(format!("somebody else is answered {status}").into());
        }
        served += u64::from(status == 200);
        thread::sleep(std::time::Duration::from_millis(5));
    }
    let (mut whole, mut refused) = (0, 0);
    for upload in uploads {
        match upload.join().map_err(|_| io::Error::other("an upload panicked"))? {
            Ok(answer) if answer.status == 200 => whole += 1,
            _ => refused += 1,
        }
    }
    let grown = (peak_rss_bytes(target.running.pid())? - before) as i64;
    let is_served = Client::new(target.connect()?).ask(get("/plaintext").as_bytes())?.status == 200;
    let seen = format!(
        "{}; {whole} uploads done, {refused} refused, others served {served} times meanwhile",
        bytes(grown)
    );
    let holds = grown <= RESIDENT && whole > 0 && served > 0 && is_served;
    let what = "64 bodies of 4 MiB wanted whole, and a budget of 32 MiB";
    Ok(vec![Finding::fact(what, "a third of that, resident", seen, holds)])
}
