//! The machine and the versions that a comparison was made with.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::outside::python;

/// The crates whose versions matter to the reader.
const CRATES: &[&str] = &[
    "hyper",
    "tokio",
    "tokio-rustls",
    "rustls",
    "axum",
    "actix-web",
    "xitca-http",
    "ntex",
    "may_minihttp",
    "async-io",
    "tokio-util",
    "mio",
];

/// What, and its value, as far as it can be found out.
pub fn about(workspace: &Path, rounds: usize) -> Vec<(String, String)> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
    let python = python().to_string_lossy().into_owned();
    let found = [
        ("processor", processor()),
        ("memory", memory()),
        ("kernel", first_line("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}"))),
        ("compiler", said_by("rustc", &["--version"])),
        ("crates", Some(crates(&lock))),
        ("nginx", said_by("nginx", &["-v"]).map(|line| line.replace("nginx version: ", ""))),
        (
            "Tornado",
            said_by(
                &python,
                &["-c", "import sys, tornado; print(tornado.version, 'on Python', sys.version.split()[0])"],
            ),
        ),
        ("Node", said_by("node", &["--version"])),
        ("rounds", Some(rounds.to_string())),
        ("load before the run", first_line("/proc/loadavg")),
    ];
    found.into_iter().filter_map(|(what, value)| Some((what.to_string(), value?))).collect()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let models: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    Some(format!("{} × {}", models.len(), models.first()?))
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text.lines().next()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{} GiB", (kib + (1 << 19)) >> 20))
}

fn first_line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.to_string())
}

/// The first line that a program prints, wherever it prints it. None when it fails.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let words = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&words).lines().next().map(str::to_string)
}

/// `hyper 1.6.0, tokio 1.44.2, …`, from the lock file.
fn crates(lock: &str) -> String {
    let version = |name: &str| {
        let package =
            lock.split("[[package]]").find(|package| package.contains(&format!("\nname = \"{name}\"\n")))?;
        let version = package.lines().find_map(|line| line.strip_prefix("version = \""))?;
        Some(format!("{name} {}", version.trim_end_matches('"')))
    };
    CRATES.iter().filter_map(|name| version(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_a_lock_file() {
        let lock = "[[package]]\nname = \"hyper-util\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"hyper\"\n\
                    version = \"1.6.0\"\nsource = \"x\"\n\n[[package]]\nname = \"mio\"\nversion = \"1.0.3\"\n";
        assert_eq!(crates(lock), "hyper 1.6.0, mio 1.0.3");
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(said_by("no-such-program", &[]), None);
        assert_eq!(said_by("false", &[]), None);
    }
}
