//! How the servers of the comparison are built: all at once, and one by one when that fails, so that the one that
//! cannot be built is left out and the others are not.

use std::process::{Command, Stdio};

use crate::server::{Places, Program, Server};

/// Builds these, or for programs from outside looks whether they are installed. What became of each, in their order.
pub fn build(servers: &[&Server], places: &Places) -> Vec<Result<(), String>> {
    let together = arguments(servers).iter().all(|arguments| cargo(places, arguments).is_ok());
    servers.iter().map(|server| build_one(server, places, together)).collect()
}

fn build_one(server: &Server, places: &Places, is_built: bool) -> Result<(), String> {
    match server.program {
        Program::Nginx => succeeds(Command::new("nginx").arg("-v")),
        Program::Tornado => succeeds(Command::new("python3").args(["-c", "import tornado"])),
        Program::Node => succeeds(Command::new("node").arg("--version")),
        _ if is_built => Ok(()),
        _ => arguments(&[server]).iter().try_for_each(|arguments| cargo(places, arguments)),
    }
}

/// A call of cargo for each package that any of them is in. Two packages are never built in one call: ours would be
/// given what the peers ask of the dependencies that they share.
fn arguments(servers: &[&Server]) -> Vec<Vec<String>> {
    let (mut ours, mut features, mut programs) = (Vec::new(), Vec::new(), Vec::new());
    for server in servers {
        match server.program {
            Program::Example(name) => ours.extend(["--example", name].map(str::to_string)),
            Program::Floor => programs.extend(["--bin", "floor"].map(str::to_string)),
            Program::Peer(feature) => {
                features.push(feature);
                programs.extend(["--bin".to_string(), peer_bin(feature)]);
            }
            Program::Nginx | Program::Tornado | Program::Node => {}
        }
    }
    let mut calls = Vec::new();
    if !ours.is_empty() {
        // `testbed` speaks TLS where it is built so; the others have no use for it.
        let tls: &[&str] =
            if ours.iter().any(|name| name == "testbed") { &["--features", "tls"] } else { &[] };
        calls.push([words(&["-p", "examples"]), words(tls), ours].concat());
    }
    if !programs.is_empty() {
        calls.push([words(&["-p", "benches", "--features", &features.join(",")]), programs].concat());
    }
    calls
}

/// The program that is the peer of that feature.
pub(crate) fn peer_bin(feature: &str) -> String {
    format!("peer-{feature}")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn cargo(places: &Places, arguments: &[String]) -> Result<(), String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--quiet", "--target-dir"]).arg(&places.target).args(arguments);
    succeeds(command.current_dir(&places.workspace))
}

fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let first = words.lines().find(|line| line.starts_with("error")).or_else(|| words.lines().last());
    Err(first.unwrap_or("no reason given").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::SERVERS;

    #[test]
    fn ours_and_theirs_are_built_in_a_call_each() {
        let all: Vec<&Server> = SERVERS.iter().collect();
        let calls = arguments(&all);
        assert_eq!(calls.len(), 2);
        assert!(calls[0].windows(2).any(|pair| pair == ["--example", "testbed"]));
        assert!(!calls[1].contains(&"examples".to_string()));
        assert!(calls[1].windows(2).any(|pair| pair == ["--bin", "peer-hyper"]));
    }

    #[test]
    fn what_is_installed_is_not_built() {
        let outside =
            SERVERS.iter().filter(|server| matches!(server.program, Program::Nginx | Program::Node));
        assert_eq!(arguments(&outside.collect::<Vec<_>>()), Vec::<Vec<String>>::new());
    }
}
