//! Requests that do not end.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::client::{Client, PATIENCE, post_chunked, status_of};
use super::report::{Finding, bytes};
use super::target::Target;
use super::{Extent, Findings};

/// What is sent between two looks at what came back.
const STEP: usize = 4096;
/// By then ours has answered.
const BOUND: usize = (64 << 10) + 2 * STEP;
/// A server that has taken so much takes everything.
const ENOUGH: usize = 1 << 20;
/// How long a look takes.
const LOOK: Duration = Duration::from_millis(3);

pub(super) fn endless(target: &Target, _extent: Extent) -> Findings {
    let chunked = post_chunked("/count");
    let extension = format!("1;{}\r\nx\r\n", "e".repeat(200));
    let cases: [(&str, String, &str, u16); 8] = [
        ("request line", "GET /".to_owned(), "a", 414),
        ("header field", "GET / HTTP/1.1\r\nHost: a\r\nX: ".to_owned(), "a", 431),
        ("row of header fields", "GET / HTTP/1.1\r\nHost: a\r\n".to_owned(), "X: a\r\n", 431),
        ("chunk extension", chunked.clone() + "1;", "e", 400),
        ("row of chunk extensions", chunked.clone(), &extension, 400),
        ("chunk size", chunked.clone(), "0", 400),
        ("trailer field", chunked.clone() + "0\r\nX: ", "a", 431),
        ("row of trailer fields", chunked + "0\r\n", "X: a\r\n", 431),
    ];
    let mut findings = Vec::new();
    for (what, first, unit, status) in cases {
        let (sent, answered) = until_answered(target, first.as_bytes(), unit.as_bytes())?;
        let (seen, holds) = match answered {
            Some(got) => (format!("{got} after {}", bytes(sent as i64)), got == status && sent <= BOUND),
            None if sent < ENOUGH => (format!("closed after {}", bytes(sent as i64)), false),
            None => (format!("nothing after {}", bytes(sent as i64)), false),
        };
        findings.push(Finding::fact(
            format!("endless {what}"),
            format!("{status} within 64 KiB"),
            seen,
            holds,
        ));
    }
    Ok(findings)
}

/// Sends `first` and then `unit` without end, until an answer comes; gives how much was sent and the answer's status.
fn until_answered(target: &Target, first: &[u8], unit: &[u8]) -> io::Result<(usize, Option<u16>)> {
    let mut client = target.connect()?;
    client.write_all(first)?;
    let step = unit.repeat(STEP.div_ceil(unit.len()));
    let (mut sent, mut received) = (first.len(), Vec::new());
    while sent < ENOUGH {
        let is_taken = client.write_all(&step).is_ok();
        sent += step.len();
        // More than that the kernel would take, however slow the server is: ours is waited for.
        let is_last = target.is_ours() && sent + step.len() > BOUND;
        client.set_read_timeout(Some(if is_last { PATIENCE } else { LOOK }))?;
        let mut piece = [0; 256];
        // What came before the end of the connection is there behind it.
        match client.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => received.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        if !is_taken || status_of(&received).is_some() {
            break;
        }
    }
    Ok((sent, status_of(&received)))
}

/// A body in chunks of a byte, and one four times as long.
pub(super) fn one_byte_chunks(target: &Target, extent: Extent) -> Findings {
    let many = extent.pick(100_000, 10_000);
    let mut spent = Vec::new();
    for chunks in [many, 4 * many] {
        let body = post_chunked("/count") + &"1\r\nx\r\n".repeat(chunks) + "0\r\n\r\n";
        let before = target.cpu()?;
        let answer = Client::new(target.connect()?).ask(body.as_bytes());
        target.connect()?; // the scheduler counts when the server sleeps again
        std::thread::sleep(Duration::from_millis(20));
        spent.push((target.cpu()? - before).as_secs_f64());
        if !matches!(&answer, Ok(answer) if answer.status == 200) {
            let seen = answer.map_or("no answer".to_owned(), |answer| answer.status.to_string());
            return Ok(vec![Finding::fact("100,000 chunks of one byte", "200, linear", seen, false)]);
        }
    }
    let seen = format!("200, {:.1} ms CPU; four times as many {:.1} ×", spent[0] * 1e3, spent[1] / spent[0]);
    Ok(vec![Finding::timed("100,000 chunks of one byte", "200, linear", seen, spent[1] <= 6.0 * spent[0])])
}
