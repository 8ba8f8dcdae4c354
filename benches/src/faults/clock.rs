//! A wall clock that jumps.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::client::{Client, get};
use super::report::Finding;
use super::target::{Kind, Place, Start, Target};
use super::{Extent, Findings};

const DAY: f64 = 86_400.0;

/// Ten days ahead, and twenty back, with an idle connection and a request that takes its time. No clock but the server's is touched,
/// by `libfaketime`; without that the line is left out.
pub(super) fn jumps(place: &Place, _extent: Extent) -> Findings {
    let Some(library) = library() else { return Ok(Vec::new()) };
    let time = place.scratch("time")?;
    let set = |words: &str| fs::write(&time, words);
    set("+0d")?;
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", time.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let target = place.start(Kind::Waterspout, Start { environment: &environment, ..Start::default() })?;
    let mut idle = Client::new(target.connect()?);
    idle.ask(get("/plaintext").as_bytes())?;
    let mut seen = Vec::new();
    let mut holds = true;
    for (words, days) in [("+10d", 10.0), ("-10d", -10.0)] {
        let mut slow = Client::new(target.connect()?);
        let began = Instant::now();
        slow.stream.write_all(get("/sleep/600").as_bytes())?;
        set(words)?;
        let answer = slow.answer().map(|answer| answer.status);
        let slept = began.elapsed();
        let follows = date_is_off_by(&target, days)?;
        let is_kept = idle.ask(get("/plaintext").as_bytes()).is_ok_and(|answer| answer.status == 200);
        let in_time = matches!(answer, Ok(200)) && slept >= Duration::from_millis(600);
        holds &= follows && is_kept && in_time && slept < Duration::from_secs(10);
        let said = |yes: bool, no| if yes { "" } else { no };
        seen.push(format!(
            "{words}: Date {}follows, a connection is {}kept, 0.6 s are {:.1} s",
            said(follows, "never "),
            said(is_kept, "not "),
            slept.as_secs_f64()
        ));
    }
    Ok(vec![Finding::fact("the wall clock jumps", "Date follows, nothing else", seen.join("; "), holds)])
}

/// Waits until it is.
fn date_is_off_by(target: &Target, days: f64) -> io::Result<bool> {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let head = Client::new(target.connect()?).ask(get("/plaintext").as_bytes())?.head;
        let date = head.lines().find_map(|line| line.strip_prefix("Date: "));
        let date = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
        let off = date.map_or(0.0, |date| match date.duration_since(SystemTime::now()) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        });
        if (off / DAY - days).abs() < 0.1 {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

/// Where Debian has it.
fn library() -> Option<PathBuf> {
    let all = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    all.map(|dir| dir.path().join("faketime/libfaketime.so.1")).find(|path| Path::exists(path))
}
