//! Connections that come to nothing, in great number.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, get, reset};
use super::report::{Finding, bytes};
use super::target::Target;
use super::{Extent, Findings};

const THREADS: usize = 4;
/// Memory that is the allocator's doing.
const MORE: i64 = 256 << 10;

pub(super) fn resets_and_scans(target: &Target, extent: Extent) -> Findings {
    // Once as many as the largest pool holds, so that what is kept for the next connection is there before.
    torment(target.address(), 4_000)?;
    target.settle(extent)?;
    let (memory, descriptors) = (target.memory()?, target.descriptors()?);
    let count = match target.is_ours() {
        true => extent.pick(200_000, 8_000),
        false => 20_000,
    };
    let began = Instant::now();
    torment(target.address(), count)?;
    let took = began.elapsed();
    target.settle(extent)?;
    let until = Instant::now() + Duration::from_secs(10);
    let grown_and_more = || -> io::Result<(i64, i64)> {
        Ok((target.memory()? - memory, target.descriptors()? as i64 - descriptors as i64))
    };
    // As many at a time as the machine lets come; what they have taken is given back when the last has been gone for half a second.
    let (mut grown, mut more) = grown_and_more()?;
    while (more > 0 || grown > MORE) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
        (grown, more) = grown_and_more()?;
    }
    let served = Client::new(target.connect()?).ask(get("/plaintext").as_bytes())?.status == 200;
    let seen = format!("{more:+} descriptors, {} after {count} in {:.0} s", bytes(grown), took.as_secs_f64());
    let holds = served && more <= 0 && grown <= MORE;
    Ok(vec![Finding::fact(
        "port scans, resets in mid-request and mid-response",
        "nothing is left of 200,000",
        seen,
        holds,
    )])
}

/// In turn: somebody who only knocks, half a request, a request whose answer nobody waits for, a large answer of which some is
/// read. All end by a reset.
fn torment(address: SocketAddr, count: usize) -> io::Result<()> {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            thread::spawn(move || {
                (thread..count).step_by(THREADS).try_for_each(|number| one(address, number / THREADS))
            })
        })
        .collect();
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a tormentor panicked"))?)
}

fn one(address: SocketAddr, number: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    match number % 16 {
        0 => {
            stream.write_all(get("/bytes/1048576").as_bytes())?;
            let _ = stream.read(&mut [0; 4096])?;
        }
        1..6 => {}
        6..11 => stream.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Le")?,
        _ => stream.write_all(get("/plaintext").as_bytes())?,
    }
    reset(&stream)
}
