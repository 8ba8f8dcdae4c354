//! Clients that end their side early, and handlers that panic.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use super::client::{Client, PATIENCE, get, status_of};
use super::report::Finding;
use super::target::Target;
use super::{Extent, Findings};

/// A hundred who ask, end their side at once, and wait for the answer.
pub(super) fn half_closed(target: &Target, _extent: Extent) -> Findings {
    let large = (1 << 20, "/bytes/1048576".to_owned());
    let cases = [("a small answer", (0, "/plaintext".to_owned())), ("1 MiB", large)];
    let mut findings = Vec::new();
    for (what, (at_least, path)) in cases {
        let mut answered = 0;
        for _ in 0..100 {
            let mut client = target.connect()?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(get(&path).as_bytes())?;
            client.shutdown(Shutdown::Write)?;
            let mut all = Vec::new();
            let ended = client.read_to_end(&mut all);
            answered += usize::from(ended.is_ok() && status_of(&all) == Some(200) && all.len() > at_least);
        }
        let seen = format!("{answered} of 100");
        findings.push(Finding::fact(
            format!("half-closed clients: {what}"),
            "100 of 100 answered",
            seen,
            answered == 100,
        ));
    }
    Ok(findings)
}

/// A handler that panics, and the neighbours of its connection.
pub(super) fn panicking_handler(target: &Target, _extent: Extent) -> Findings {
    if target.kind == super::target::Kind::Nginx {
        return Ok(Vec::new()); // it has no handlers
    }
    let mut neighbour = Client::new(target.connect()?);
    neighbour.ask(get("/plaintext").as_bytes())?;
    let mut client = target.connect()?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(get("/panic").as_bytes())?;
    let mut all = Vec::new();
    let ended = client.read_to_end(&mut all).is_ok();
    thread::sleep(Duration::from_millis(20));
    let unharmed = neighbour.ask(get("/plaintext").as_bytes()).is_ok_and(|answer| answer.status == 200);
    let status = status_of(&all);
    let status_text = status.map_or("no answer".to_owned(), |status| status.to_string());
    let seen = format!(
        "{status_text}, {}, neighbours {}",
        if ended { "closed" } else { "cut or open" },
        if unharmed { "unharmed" } else { "harmed" }
    );
    Ok(vec![Finding::fact(
        "a handler that panics",
        "500, closed, neighbours unharmed",
        seen,
        status == Some(500) && ended && unharmed,
    )])
}
