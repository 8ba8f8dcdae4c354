//! Who is compared: the servers, as data, and how each is started.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::building::peer_bin;
use crate::outside;
use crate::scenario::{Field, Over, Pace, Scenario, Traffic};
use crate::tls::Certificate;

/// One server of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// As `--peer` takes it and the tables show it. A server of HTTP and one of lines may share it.
    pub name: &'static str,
    /// What it answers.
    pub speaks: Speaks,
    /// What it is.
    pub program: Program,
    /// Takes part over TLS.
    tls: bool,
    /// Takes part with several loops.
    loops: bool,
    /// Scenarios that it has no code for, or that take it too long.
    cannot: &'static [&'static str],
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
    /// Node's own `http`, as installed.
    Node,
}

/// The name of our own rows.
pub const OURS: &str = "waterspout";
/// The row that the ratios are taken against.
pub const BASELINE: &str = "floor";

/// Who is shown in the curves of growth.
const FEW: &[&str] = &[BASELINE, OURS, "hyper", "nginx"];

/// Every server, in the order of the report.
pub const SERVERS: &[Server] = &[
    Server::of_http(BASELINE, Program::Floor).on_loops(),
    Server::of_http(OURS, Program::Example("testbed")).over_tls().on_loops(),
    Server::of_http("hyper", Program::Peer("hyper")).over_tls().on_loops(),
    Server::of_http("axum", Program::Peer("axum")).on_loops(),
    Server::of_http("actix-web", Program::Peer("actix")).on_loops(),
    Server::of_http("xitca-http", Program::Peer("xitca")).on_loops(),
    Server::of_http("ntex", Program::Peer("ntex")).on_loops(),
    Server::of_http("may_minihttp", Program::Peer("may")).on_loops().without(&[
        "close",
        "chunked-1m",
        "post-100k-chunked",
    ]),
    Server::of_http("nginx", Program::Nginx).over_tls().on_loops().without(&[
        "json",
        "chunked-1m",
        "post-100k",
        "post-100k-chunked",
    ]),
    Server::of_http("tornado", Program::Tornado).over_tls().without(&["plaintext-4096", "rate-10k"]),
    Server::of_http("node", Program::Node).over_tls().without(&["plaintext-4096"]),
    Server::of_lines(BASELINE, Program::Floor),
    Server::of_lines(OURS, Program::Example("echo")),
    Server::of_lines("tokio-bufreader", Program::Peer("tokio-bufreader")),
    Server::of_lines("tokio-lines", Program::Peer("tokio-lines")),
    Server::of_lines("async-io", Program::Peer("async-io")),
    Server::of_lines("tornado", Program::Tornado),
];

/// Where programs are built to, and where a server may write.
#[derive(Debug)]
pub struct Places {
    /// The workspace.
    pub workspace: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// A folder that goes away with the comparison.
    pub scratch: tempfile::TempDir,
    /// What servers over TLS show.
    pub certificate: Certificate,
}

/// What to execute.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Set when the program does not print where it listens.
    pub port: Option<u16>,
    /// So many CPUs are given to it.
    pub loops: usize,
}

impl Launch {
    /// A program with one loop that prints where it listens.
    pub fn announcing(words: Vec<OsString>) -> Launch {
        Launch { words, port: None, loops: 1 }
    }

    /// A program with one loop that listens on this port.
    pub fn on_port(words: Vec<OsString>, port: u16) -> Launch {
        Launch { words, port: Some(port), loops: 1 }
    }
}

impl Server {
    const fn of_http(name: &'static str, program: Program) -> Server {
        Server { name, speaks: Speaks::Http, program, tls: false, loops: false, cannot: &[] }
    }

    /// A server of lines, over TCP, with one loop.
    pub const fn of_lines(name: &'static str, program: Program) -> Server {
        Server { speaks: Speaks::Lines, ..Server::of_http(name, program) }
    }

    const fn over_tls(self) -> Server {
        Server { tls: true, ..self }
    }

    const fn on_loops(self) -> Server {
        Server { loops: true, ..self }
    }

    const fn without(self, cannot: &'static [&'static str]) -> Server {
        Server { cannot, ..self }
    }

    /// Whether this server has to do with that scenario.
    pub fn takes(&self, scenario: &Scenario) -> bool {
        let lines = matches!(scenario.traffic, Traffic::Lines(_));
        lines == (self.speaks == Speaks::Lines)
            && !self.cannot.contains(&scenario.name)
            && (self.tls || scenario.over == Over::Tcp)
            && (self.loops || scenario.loops == 1)
            && (scenario.field == Field::All || FEW.contains(&self.name))
    }

    /// Whether it is machine code that was there before it ran, whose instructions can be counted.
    pub fn is_compiled(&self) -> bool {
        !matches!(self.program, Program::Tornado | Program::Node)
    }

    /// What to execute for that scenario.
    ///
    /// # Errors
    /// When a file that the server needs cannot be written.
    pub fn launch(&self, scenario: &Scenario, places: &Places) -> io::Result<Launch> {
        let release = places.target.join("release");
        let mut words: Vec<OsString> = match self.program {
            Program::Example(name) => vec![release.join("examples").join(name).into()],
            Program::Floor => vec![release.join("floor").into()],
            Program::Peer(feature) => vec![release.join(peer_bin(feature)).into()],
            Program::Nginx => return outside::nginx(scenario, places),
            Program::Tornado => outside::tornado(&places.workspace, self.speaks == Speaks::Lines),
            Program::Node => outside::node(&places.workspace),
        };
        words.extend(["--port", "0"].map(OsString::from));
        if self.program == Program::Floor {
            words.extend(floor_arguments(scenario).into_iter().map(OsString::from));
        }
        if scenario.over == Over::Tls {
            let Certificate { chain, key } = &places.certificate;
            words.extend(["--cert".into(), chain.into(), "--key".into(), key.into()]);
        }
        if scenario.loops > 1 {
            words.extend(["--loops".into(), scenario.loops.to_string().into()]);
        }
        Ok(Launch { loops: scenario.loops, ..Launch::announcing(words) })
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
        let scratch = tempfile::tempdir()?;
        let certificate = Certificate::create(scratch.path())?;
        Ok(Places { workspace, target, scratch, certificate })
    }
}

/// The floor parses nothing, so its arguments say what there is to count and to answer.
pub fn floor_arguments(scenario: &Scenario) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut option = |name: &str, value: usize| arguments.extend([name.to_string(), value.to_string()]);
    match scenario.traffic {
        Traffic::Lines(_) => return vec!["--lines".to_string()],
        Traffic::Post(bytes) | Traffic::PostChunked(bytes) => {
            option("--answer-bytes", bytes);
            option("--request-bytes", scenario.traffic.request(false).len());
        }
        other => option("--answer-bytes", other.answer_bytes().unwrap_or_default() as usize),
    }
    if scenario.pace == Pace::ConnectionPerRequest {
        arguments.push("--close".to_string());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    #[test]
    fn every_scenario_has_us_exactly_once_and_the_floor_unless_it_is_over_tls() {
        for scenario in SCENARIOS {
            let rows =
                |name| SERVERS.iter().filter(|server| server.name == name && server.takes(scenario)).count();
            assert_eq!(rows(OURS), 1, "{}", scenario.name);
            assert_eq!(rows(BASELINE), usize::from(scenario.over == Over::Tcp), "{}", scenario.name);
        }
    }

    #[test]
    fn what_a_server_cannot_do_is_the_name_of_a_scenario() {
        for name in SERVERS.iter().flat_map(|server| server.cannot) {
            assert!(Scenario::named(name).is_some(), "{name}");
        }
    }
}
