//! What is asked of the servers: the scenarios, as data.

use crate::load::Wanted;
pub use crate::traffic::Traffic;

/// One way of putting load on a server.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As `--scenario` takes it.
    pub name: &'static str,
    /// What is sent.
    pub traffic: Traffic,
    /// How it is sent.
    pub pace: Pace,
    /// Over what it is sent.
    pub over: Over,
    /// Open at the same time.
    pub connections: usize,
    /// Requests or lines sent at once on each connection.
    pub depth: u32,
    /// Loops, or worker threads, that the server is given. With more than one, nobody is pinned but the load generator.
    pub loops: usize,
    /// Who is asked.
    pub field: Field,
}

/// Over what a scenario's bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// TCP.
    Tcp,
    /// TLS 1.3 over TCP: every handshake a full one, X25519, an ECDSA certificate on P-256, AES-128-GCM.
    Tls,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Every server that can.
    All,
    /// Only those that a curve of growth shows: the floor, ours, hyper and nginx.
    Few,
}

/// How requests follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next one follows the answer, on the same connection.
    KeepAlive,
    /// The next one follows the answer, on a new connection.
    ConnectionPerRequest,
    /// So many a second, whatever the answers do.
    Rate(f64),
}

const PLAINTEXT: Traffic = Traffic::Get("/plaintext", 13);
const MEBIBYTE: u64 = 1 << 20;
const LINES: Traffic = Traffic::Lines(64);
const UPLOAD: usize = 100 * 1024;

/// Every scenario, in the order of the report; after those that all servers take come the points of the curves in
/// [`growth`](crate::growth).
pub const SCENARIOS: &[Scenario] = &[
    keep_alive("plaintext-1", PLAINTEXT, 1),
    keep_alive("plaintext-64", PLAINTEXT, 64),
    keep_alive("plaintext-512", PLAINTEXT, 512),
    keep_alive("plaintext-4096", PLAINTEXT, 4096),
    keep_alive("pipelined-16", PLAINTEXT, 64).pipelined(16),
    keep_alive("browser", Traffic::BrowserGet("/plaintext", 13), 64),
    keep_alive("json", Traffic::Get("/json", 27), 64),
    keep_alive("close", PLAINTEXT, 64).paced(Pace::ConnectionPerRequest),
    keep_alive("bytes-1m", Traffic::GetBytes(MEBIBYTE), 16),
    keep_alive("chunked-1m", Traffic::Get("/chunked/1048576", MEBIBYTE), 16),
    keep_alive("post-100k", Traffic::Post(UPLOAD), 64),
    keep_alive("post-100k-chunked", Traffic::PostChunked(UPLOAD), 64),
    keep_alive("tls", PLAINTEXT, 64).over_tls(),
    keep_alive("tls-close", PLAINTEXT, 64).over_tls().paced(Pace::ConnectionPerRequest),
    keep_alive("lines-64", LINES, 64),
    keep_alive("lines-1024", LINES, 1024),
    keep_alive("lines-pipelined", LINES, 64).pipelined(16),
    keep_alive("rate-10k", PLAINTEXT, 64).paced(Pace::Rate(10_000.0)),
    keep_alive("two-loops", PLAINTEXT, 64).on_loops(2),
    few("connections-8", PLAINTEXT, 8),
    few("connections-16000", PLAINTEXT, 16_000),
    few("depth-4", PLAINTEXT, 64).pipelined(4),
    few("depth-64", PLAINTEXT, 64).pipelined(64),
    few("depth-256", PLAINTEXT, 64).pipelined(256),
    few("fields-1", Traffic::GetWithFields(1), 64),
    few("fields-3", Traffic::GetWithFields(3), 64),
    few("fields-10", Traffic::GetWithFields(10), 64),
    few("fields-30", Traffic::GetWithFields(30), 64),
    few("fields-100", Traffic::GetWithFields(100), 64),
    few("body-1", Traffic::GetBytes(1), 4),
    few("body-1k", Traffic::GetBytes(1 << 10), 4),
    few("body-16k", Traffic::GetBytes(16 << 10), 4),
    few("body-128k", Traffic::GetBytes(128 << 10), 4),
    few("body-1m", Traffic::GetBytes(MEBIBYTE), 4),
    few("body-10m", Traffic::GetBytes(10 * MEBIBYTE), 4),
    few("body-100m", Traffic::GetBytes(100 * MEBIBYTE), 4),
];

const fn keep_alive(name: &'static str, traffic: Traffic, connections: usize) -> Scenario {
    let (pace, over, field) = (Pace::KeepAlive, Over::Tcp, Field::All);
    Scenario { name, traffic, pace, over, connections, depth: 1, loops: 1, field }
}

const fn few(name: &'static str, traffic: Traffic, connections: usize) -> Scenario {
    Scenario { field: Field::Few, ..keep_alive(name, traffic, connections) }
}

impl Scenario {
    const fn pipelined(self, depth: u32) -> Scenario {
        Scenario { depth, ..self }
    }

    const fn paced(self, pace: Pace) -> Scenario {
        Scenario { pace, ..self }
    }

    const fn over_tls(self) -> Scenario {
        Scenario { over: Over::Tls, ..self }
    }

    const fn on_loops(self, loops: usize) -> Scenario {
        Scenario { loops, ..self }
    }
}

impl Scenario {
    /// The scenario of that name.
    pub fn named(name: &str) -> Option<&'static Scenario> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// How many connections, and what is out of the ordinary about them.
    pub fn load_in_words(&self) -> String {
        let mut words = match self.connections {
            1 => "one connection".to_string(),
            connections => format!("{connections} connections"),
        };
        if self.depth > 1 {
            words += &format!(", {} at a time", self.depth);
        }
        match self.pace {
            Pace::KeepAlive => {}
            Pace::ConnectionPerRequest => words += ", each for one request",
            Pace::Rate(per_second) => words += &format!(", {per_second} requests a second"),
        }
        if self.over == Over::Tls {
            words += ", TLS";
        }
        if self.loops > 1 {
            words += &format!(", {} loops", self.loops);
        }
        words
    }

    /// What the load generator sends and expects.
    pub fn wanted(&self) -> Wanted {
        let one = self.traffic.request(self.pace == Pace::ConnectionPerRequest);
        let wanted = match (self.traffic, self.pace) {
            (Traffic::Lines(_), _) => Wanted::echo(&one, self.depth),
            (_, Pace::ConnectionPerRequest) => Wanted::http_then_close(&one),
            _ => Wanted::http(&one, self.depth),
        };
        if self.over == Over::Tls { wanted.over_tls() } else { wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_said_in_words() {
        let words = |name| Scenario::named(name).unwrap().load_in_words();
        assert_eq!(words("plaintext-1"), "one connection");
        assert_eq!(words("pipelined-16"), "64 connections, 16 at a time");
        assert_eq!(words("tls-close"), "64 connections, each for one request, TLS");
        assert_eq!(words("rate-10k"), "64 connections, 10000 requests a second");
        assert_eq!(words("two-loops"), "64 connections, 2 loops");
    }

    #[test]
    fn names_are_unique() {
        for scenario in SCENARIOS {
            assert_eq!(SCENARIOS.iter().filter(|other| other.name == scenario.name).count(), 1);
        }
    }
}
