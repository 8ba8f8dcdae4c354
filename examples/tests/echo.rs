//! The echo as a process: what it says, what it answers, how it ends.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A program under test; ends with it.
struct Program {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Program {
    /// Starts the echo and waits until it says where it listens.
    fn start(flags: &[&str]) -> Program {
        let mut child = command().args(["--port", "0"]).args(flags).spawn().expect("the example was built");
        let mut addresses = Vec::new();
        let out = BufReader::new(child.stdout.as_mut().expect("it is piped"));
        // One line for each family. Where there is no IPv6, the wildcard of IPv4 comes alone.
        let expected = if std::net::TcpListener::bind("[::1]:0").is_ok() { 2 } else { 1 };
        for line in out.lines().take(expected) {
            let line = line.expect("text");
            let address = line.strip_prefix("listening on ").expect("the line that scripts wait for");
            addresses.push(address.parse().expect("an address"));
        }
        Program { child, addresses }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.addresses[0].port())).expect("it listens")
    }

    /// Sends a signal and gives what there is to say about the end.
    fn end(mut self, signal: &str) -> Output {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill exists").success());
        let mut output =
            Output { status: self.child.wait().expect("it ends"), stdout: vec![], stderr: vec![] };
        let stderr = self.child.stderr.as_mut().expect("it is piped");
        stderr.read_to_end(&mut output.stderr).expect("a log");
        output
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command() -> Command {
    // Beside the tests' own directory, where Cargo puts the examples: `cargo test -p examples` builds them too, but
    // `--test echo` alone does not.
    let test: PathBuf = std::env::current_exe().expect("a program runs");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/test");
    let mut command = Command::new(profile.join("examples").join("echo"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ask(stream: &mut TcpStream, lines: &str) -> String {
    stream.write_all(lines.as_bytes()).expect("it reads");
    let mut answer = vec![0; lines.len()];
    stream.read_exact(&mut answer).expect("it answers");
    String::from_utf8(answer).expect("text")
}

#[test]
fn it_says_where_it_listens_and_sends_lines_back_from_every_address() {
    let program = Program::start(&[]);
    for address in &program.addresses {
        let host = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
        let mut stream = TcpStream::connect((host, address.port())).expect("it listens");
        assert_eq!(ask(&mut stream, "hello\n"), "hello\n");
        let sixteen: String = (0..16).map(|number| format!("line {number}\n")).collect();
        assert_eq!(ask(&mut stream, &sixteen), sixteen);
    }
}

#[test]
fn more_than_the_kernel_holds_comes_back_to_a_peer_that_reads_late() {
    let program = Program::start(&[]);
    let mut stream = program.connect();
    let mut reader = stream.try_clone().expect("a descriptor");
    let line = format!("{}\n", "x".repeat(4095));
    let writer = std::thread::spawn(move || {
        for _ in 0..8192 {
            stream.write_all(line.as_bytes()).expect("it reads");
        }
        stream.shutdown(std::net::Shutdown::Write).expect("a connection");
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer.len(), 8192 * 4096);
    writer.join().expect("everything was taken");
}

#[test]
fn a_line_that_is_too_long_costs_its_own_connection_and_is_logged() {
    let program = Program::start(&["--max-line", "16"]);
    let (mut bad, mut good) = (program.connect(), program.connect());
    assert_eq!(ask(&mut bad, "fifteen letters\n"), "fifteen letters\n");
    bad.write_all(b"more than fifteen\n").expect("it listens");
    bad.shutdown(std::net::Shutdown::Write).expect("a connection");
    let mut rest = Vec::new();
    bad.read_to_end(&mut rest).expect("a clean end");
    assert_eq!(rest, b"");
    assert_eq!(ask(&mut good, "unharmed\n"), "unharmed\n");
    let output = program.end("-TERM");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("no delimiter within 16 bytes"), "{log}");
}

#[test]
fn sigterm_and_sigint_end_it_with_status_0_though_somebody_is_connected() {
    for signal in ["-TERM", "-INT"] {
        let program = Program::start(&[]);
        let mut stream = program.connect();
        assert_eq!(ask(&mut stream, "hello\n"), "hello\n");
        let output = program.end(signal);
        assert!(output.status.success(), "{signal}: {:?}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn a_flag_that_it_does_not_know_or_cannot_read_is_answered_with_the_usage_and_status_2() {
    for arguments in [&["--prot", "1"][..], &["--port"], &["--port", "x"], &["--max-line", "-1"]] {
        let output = command().args(arguments).output().expect("the example was built");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {log}");
        assert!(log.contains("usage: echo [--port N]"), "{arguments:?}: {log}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_and_ends_it() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("a bound socket").port().to_string();
    let output = command().args(["--port", &port]).output().expect("the example was built");
    assert!(!output.status.success());
    assert!(!output.stderr.is_empty());
}
