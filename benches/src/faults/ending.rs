//! Loops that die, and the end of the process.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, PATIENCE, get, post};
use super::report::Finding;
use super::target::{Kind, Place, Start, Target};
use super::{Extent, Findings};

/// One loop of two panics.
pub(super) fn a_loop_dies(place: &Place, _extent: Extent) -> Findings {
    let target = place.start(Kind::Waterspout, Start { arguments: &["--loops", "2"], ..Start::default() })?;
    let mut answered = 0;
    let before = both_serve(&target, &mut answered)?;
    let mut victim = Client::new(target.connect()?);
    let _ = victim.ask(post("/die", 0).as_bytes());
    let after = both_serve(&target, &mut answered)?;
    let lines = target.log().iter().filter(|line| line.contains("asked to die")).count();
    let seen = format!(
        "both serve {} and again {}, {answered} requests, {lines} lines of log",
        said(before),
        said(after)
    );
    let holds = before && after && (1..=4).contains(&lines);
    Ok(vec![Finding::fact("a loop's thread that dies, of two", "replaced, and said so", seen, holds)])
}

fn said(yes: bool) -> &'static str {
    if yes { "before" } else { "never" }
}

/// Asks on new connections until both loops have answered. None may fail.
fn both_serve(target: &Target, answered: &mut u32) -> std::io::Result<bool> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut seen = [false; 2];
    let mut held = Vec::new();
    while seen != [true; 2] && Instant::now() < until {
        let mut client = Client::new(target.connect()?);
        let answer = client.ask(get("/counters").as_bytes())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let worker = text.lines().find_map(|line| line.strip_prefix("worker ")?.parse::<usize>().ok());
        if let Some(place) = worker.and_then(|worker| seen.get_mut(worker)) {
            *place = true;
        }
        *answered += 1;
        held.push(client);
        if held.len() > 50 {
            held.clear();
        }
    }
    Ok(seen == [true; 2])
}

/// An idle connection, a request that is being answered, one that comes too late; and one that would take too long.
pub(super) fn sigterm(place: &Place, extent: Extent) -> Findings {
    let start = Start { limit: extent.limit_unjudged(), ..Start::default() };
    let mut target = place.start(Kind::Waterspout, start)?;
    let mut idle = Client::new(target.connect()?);
    idle.ask(get("/plaintext").as_bytes())?;
    let mut busy = Client::new(target.connect()?);
    busy.stream.write_all(get("/sleep/3000").as_bytes())?;
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    target.running.signal(Signal::TERM)?;
    idle.stream.set_read_timeout(Some(PATIENCE))?;
    let closed = matches!(idle.stream.read(&mut [0]), Ok(0)).then(|| began.elapsed());
    busy.stream.set_nonblocking(true)?;
    let waited_for_nobody = busy.stream.peek(&mut [0]).is_err(); // nothing has been answered yet
    busy.stream.set_nonblocking(false)?;
    let refused = target.connect().is_err();
    let answer = busy.answer().map(|answer| answer.status);
    let last = Instant::now();
    drop(busy); // as clients do that are told of the end; who does not is waited for, `linger` at most
    let (status, ended) = target.running.wait(Duration::from_secs(10))?;
    let behind = ended.saturating_duration_since(last);

    let mut target = place.start(Kind::Waterspout, Start { arguments: &["--grace", "1"], ..start })?;
    let mut slow = Client::new(target.connect()?);
    slow.stream.write_all(get("/sleep/5000").as_bytes())?;
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    target.running.signal(Signal::TERM)?;
    let (late, ended) = target.running.wait(Duration::from_secs(10))?;
    let grace = ended.saturating_duration_since(asked);

    let closed_text = closed
        .map_or("not closed".to_owned(), |after| format!("closed after {:.0} ms", after.as_secs_f64() * 1e3));
    let answered = matches!(answer, Ok(200));
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    let ends_well = status.success() && late.success();
    let in_time = behind <= Duration::from_millis(50) && grace <= Duration::from_millis(1_250);
    let mut ends = Finding::timed(
        "SIGTERM: the process ends",
        "status 0, 50 ms after the last answer or with the grace",
        format!(
            "{status}, {} after it; {late}, {} with 1 s of grace",
            milliseconds(behind),
            milliseconds(grace)
        ),
        ends_well && in_time,
    );
    ends.timed = ends_well;
    Ok(vec![
        Finding::fact(
            "SIGTERM: a request that is being answered",
            "is answered",
            if answered { "200" } else { "lost" },
            answered,
        ),
        Finding::fact(
            "SIGTERM: an idle connection",
            "closed at once",
            closed_text,
            closed.is_some() && waited_for_nobody,
        ),
        Finding::fact(
            "SIGTERM: a new connection",
            "refused",
            if refused { "refused" } else { "taken" },
            refused,
        ),
        ends,
    ])
}
