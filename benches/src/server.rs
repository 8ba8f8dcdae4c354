//! Who is compared: the servers, as data, and how each is built and started.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outside;
use crate::scenario::{Pace, Scenario, Traffic};

/// One server of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// As `--peer` takes it and the tables show it. A server of HTTP and one of lines may share it.
    pub name: &'static str,
    /// What it answers.
    pub speaks: Speaks,
    /// What it is.
    pub program: Program,
    /// Scenarios that it has no code for.
    pub cannot: &'static [&'static str],
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// The routes of `examples/testbed`.
    Http,
    /// Every line comes back.
    Lines,
}

/// What a server is, and so how it is built and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// An example of this workspace.
    Example(&'static str),
    /// `floor`, which is told by its arguments what a parser would find in the request.
    Floor,
    /// The program `peer-NAME` of this package, behind the feature NAME.
    Peer(&'static str),
    /// nginx as installed, one worker.
    Nginx,
    /// Tornado as installed for `python3`.
    Tornado,
}

/// The name of our own rows.
pub const OURS: &str = "waterspout";
/// The row that the ratios are taken against.
pub const BASELINE: &str = "floor";

/// Every server, in the order of the report.
pub const SERVERS: &[Server] = &[
    http(BASELINE, Program::Floor, &[]),
    http(OURS, Program::Example("testbed"), &[]),
    http("hyper", Program::Peer("hyper"), &[]),
    http("axum", Program::Peer("axum"), &[]),
    http("actix-web", Program::Peer("actix"), &[]),
    http("xitca-http", Program::Peer("xitca"), &[]),
    http("ntex", Program::Peer("ntex"), &[]),
    http("may_minihttp", Program::Peer("may"), &["close", "chunked-1m", "post-100k-chunked"]),
    http("nginx", Program::Nginx, &["json", "chunked-1m", "post-100k", "post-100k-chunked"]),
    http("tornado", Program::Tornado, &[]),
    lines(BASELINE, Program::Floor),
    lines(OURS, Program::Example("echo")),
    lines("tokio-bufreader", Program::Peer("tokio-bufreader")),
    lines("tokio-lines", Program::Peer("tokio-lines")),
    lines("async-io", Program::Peer("async-io")),
    lines("tornado", Program::Tornado),
];

const fn http(name: &'static str, program: Program, cannot: &'static [&'static str]) -> Server {
    Server { name, speaks: Speaks::Http, program, cannot }
}

const fn lines(name: &'static str, program: Program) -> Server {
    Server { name, speaks: Speaks::Lines, program, cannot: &[] }
}

/// Where programs are built to, and where a server may write.
#[derive(Debug)]
pub struct Places {
    /// The workspace.
    pub workspace: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// A folder that goes away with the comparison.
    pub scratch: tempfile::TempDir,
}

/// What to execute.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Set when the program does not print where it listens.
    pub port: Option<u16>,
}

impl Server {
    /// Whether this server has to do with that scenario.
    pub fn takes(&self, scenario: &Scenario) -> bool {
        let lines = matches!(scenario.traffic, Traffic::Lines(_));
        lines == (self.speaks == Speaks::Lines) && !self.cannot.contains(&scenario.name)
    }

    /// Builds it, or for a program from outside looks whether it is installed.
    ///
    /// # Errors
    /// With cargo's words when it cannot be built.
    pub fn build(&self, places: &Places) -> Result<(), String> {
        let arguments = match self.program {
            Program::Example(name) => vec!["-p", "examples", "--example", name],
            Program::Floor => vec!["-p", "benches", "--bin", "floor"],
            Program::Peer(feature) => {
                return cargo(places, &["-p", "benches", "--features", feature, "--bin", &peer_bin(feature)]);
            }
            Program::Nginx => return succeeds(Command::new("nginx").arg("-v")),
            Program::Tornado => return succeeds(Command::new("python3").args(["-c", "import tornado"])),
        };
        cargo(places, &arguments)
    }

    /// What to execute for that scenario.
    ///
    /// # Errors
    /// When a file that the server needs cannot be written.
    pub fn launch(&self, scenario: &Scenario, places: &Places) -> io::Result<Launch> {
        let release = places.target.join("release");
        let announcing = |program: PathBuf, arguments: &[String]| {
            let mut words: Vec<OsString> = vec![program.into(), "--port".into(), "0".into()];
            words.extend(arguments.iter().map(OsString::from));
            Launch { words, port: None }
        };
        Ok(match self.program {
            Program::Example(name) => announcing(release.join("examples").join(name), &[]),
            Program::Floor => announcing(release.join("floor"), &floor_arguments(scenario)),
            Program::Peer(feature) => announcing(release.join(peer_bin(feature)), &[]),
            Program::Nginx => outside::nginx(places.scratch.path())?,
            Program::Tornado => outside::tornado(&places.workspace, self.speaks == Speaks::Lines),
        })
    }
}

impl Places {
    /// Finds the workspace this was compiled in, and the target folder this very program was built to.
    ///
    /// # Errors
    /// When there is no place for scratch files.
    pub fn find() -> io::Result<Places> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = manifest.parent().unwrap_or(manifest).to_path_buf();
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).unwrap_or(&workspace).to_path_buf();
        Ok(Places { workspace, target, scratch: tempfile::tempdir()? })
    }
}

fn peer_bin(feature: &str) -> String {
    format!("peer-{feature}")
}

/// The floor parses nothing, so its arguments say what there is to count and to answer.
pub fn floor_arguments(scenario: &Scenario) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut option = |name: &str, value: usize| arguments.extend([name.to_string(), value.to_string()]);
    match scenario.traffic {
        Traffic::Lines(_) => return vec!["--lines".to_string()],
        Traffic::Get(_, bytes) | Traffic::BrowserGet(_, bytes) => option("--answer-bytes", bytes as usize),
        Traffic::Post(bytes) | Traffic::PostChunked(bytes) => {
            option("--answer-bytes", bytes);
            option("--request-bytes", scenario.traffic.request(false).len());
        }
    }
    if scenario.pace == Pace::ConnectionPerRequest {
        arguments.push("--close".to_string());
    }
    arguments
}

fn cargo(places: &Places, arguments: &[&str]) -> Result<(), String> {
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
    use crate::scenario::SCENARIOS;

    #[test]
    fn every_scenario_has_the_floor_and_us_exactly_once() {
        for scenario in SCENARIOS {
            for name in [BASELINE, OURS] {
                let rows = SERVERS.iter().filter(|server| server.name == name && server.takes(scenario));
                assert_eq!(rows.count(), 1, "{name} in {}", scenario.name);
            }
        }
    }

    #[test]
    fn what_a_server_cannot_do_is_the_name_of_a_scenario() {
        for name in SERVERS.iter().flat_map(|server| server.cannot) {
            assert!(Scenario::named(name).is_some(), "{name}");
        }
    }
}
