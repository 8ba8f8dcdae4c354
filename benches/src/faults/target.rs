//! The servers that are put to the test, and what can be seen of them from outside.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Extent;
use super::client::{Client, get};
use crate::machine::Cpus;
use crate::peer;
use crate::process_cost::Cpu;
use crate::running::Running;
use crate::server::Launch;
use crate::tls::Certificate;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours: `examples/testbed`.
    Waterspout,
    /// `benches/peers/hyper.rs`.
    Hyper,
    /// nginx as installed, one worker.
    Nginx,
}

impl Kind {
    /// As the tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Waterspout => "waterspout",
            Kind::Hyper => "hyper",
            Kind::Nginx => "nginx",
        }
    }
}

/// Where programs are, and where servers may write.
#[derive(Debug)]
pub struct Place {
    /// Where this very program was built to, and so the others.
    programs: PathBuf,
    scratch: tempfile::TempDir,
    started: AtomicUsize,
    cpus: Cpus,
    /// The limit of time in every phase, the same for all servers.
    pub limit: Duration,
}

/// What a server is started with beside its limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Descriptors that it may have.
    pub descriptors: Option<u32>,
    /// More arguments, for ours.
    pub arguments: &'a [&'a str],
    /// More of its environment.
    pub environment: &'a [(&'a str, String)],
    /// A port of the caller's choice.
    pub port: u16,
    /// TLS instead of TCP, with this certificate.
    pub certificate: Option<&'a Certificate>,
    /// The limit of time in every phase, if it is not that of the place.
    pub limit: Option<Duration>,
}

impl Place {
    /// # Errors
    /// When there is no place for scratch files.
    pub fn find(limit: Duration) -> io::Result<Place> {
        let program = std::env::current_exe()?;
        let programs = program.parent().map(PathBuf::from).unwrap_or_default();
        let (scratch, cpus) = (tempfile::tempdir()?, Cpus { load: 0, server: 1 });
        Ok(Place { programs, scratch, started: AtomicUsize::new(0), cpus, limit })
    }

    /// Builds a server with the profile of this program, or looks whether it is installed.
    ///
    /// # Errors
    /// With the tool's words when it cannot be built.
    pub fn build(&self, kind: Kind) -> Result<(), String> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["build", "--quiet"]);
        if self.programs.ends_with("release") {
            command.arg("--release");
        }
        if let Some(target) = self.programs.parent() {
            command.arg("--target-dir").arg(target);
        }
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        match kind {
            Kind::Waterspout => {
                command.args(["-p", "examples", "--features", "gzip tls", "--example", "testbed"])
            }
            Kind::Hyper => command.args(["-p", "benches", "--features", "hyper", "--bin", "peer-hyper"]),
            Kind::Nginx => {
                command = Command::new("nginx");
                command.arg("-v")
            }
        };
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// A folder of its own for each server.
    fn home(&self) -> io::Result<PathBuf> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let home = self.scratch.path().join(number.to_string());
        fs::create_dir_all(&home)?;
        Ok(home)
    }

    /// A file that nobody else has.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn scratch(&self, name: &str) -> io::Result<PathBuf> {
        Ok(self.home()?.join(name))
    }

    /// Starts a proxy, on a port that is free.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_proxy(&self, launch: impl FnOnce(&Path, u16) -> io::Result<Launch>) -> io::Result<Running> {
        let port = peer::listen(0)?.local_addr()?.port();
        // Beside the load: the servers have the other CPU.
        let cpus = Cpus { load: self.cpus.load, server: self.cpus.load };
        Running::start(&launch(&self.home()?, port)?, &[], cpus)
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, kind: Kind, start: Start<'_>) -> io::Result<Target> {
        let home = self.home()?;
        let log = home.join("log");
        // The first backtrace of a panic would read the symbols of the whole program, some 30 MiB that stay.
        let script = format!("RUST_BACKTRACE=0 exec \"$@\" 2>>{}", log.display());
        let mut wrapper: Vec<OsString> = vec!["sh".into(), "-c".into(), script.into(), "sh".into()];
        if let Some(most) = start.descriptors {
            wrapper.extend(["prlimit".into(), format!("--nofile={most}:{most}").into(), "--".into()]);
        }
        if !start.environment.is_empty() {
            wrapper.push("env".into());
            wrapper.extend(start.environment.iter().map(|(name, value)| format!("{name}={value}").into()));
        }
        let limit = start.limit.unwrap_or(self.limit);
        let seconds = limit.as_secs_f64().to_string();
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let launch = match kind {
            Kind::Waterspout => {
                let mut all = vec![self.programs.join("examples/testbed").into()];
                all.extend(words(&["--port", &start.port.to_string()]));
                for phase in ["--header-timeout", "--body-timeout", "--write-timeout", "--handler-timeout"] {
                    all.extend(words(&[phase, &seconds]));
                }
                all.extend(words(&["--max-inflation", "100"])); // its default; without it nothing is decompressed
                all.extend(words(start.arguments));
                all.extend(start.certificate.into_iter().flat_map(tls_arguments));
                Launch::announcing(all)
            }
            Kind::Hyper => {
                let mut all = vec![self.programs.join("peer-hyper").into()];
                all.extend(words(&["--port", &start.port.to_string(), "--header-timeout", &seconds]));
                all.extend(start.certificate.into_iter().flat_map(tls_arguments));
                Launch::announcing(all)
            }
            Kind::Nginx => nginx(&home, limit, start.certificate)?,
        };
        let running = Running::start(&launch, &wrapper, self.cpus)?;
        Ok(Target { kind, limit, running, log })
    }
}

fn tls_arguments(certificate: &Certificate) -> [OsString; 4] {
    let Certificate { chain, key } = certificate;
    ["--cert".into(), chain.into(), "--key".into(), key.into()]
}

/// nginx with one worker and no master, whose limits of time are these.
fn nginx(home: &Path, limit: Duration, certificate: Option<&Certificate>) -> io::Result<Launch> {
    let port = peer::listen(0)?.local_addr()?.port();
    fs::create_dir_all(home.join("bytes"))?;
    for bytes in [1 << 20, LARGE] {
        File::create(home.join("bytes").join(bytes.to_string()))?.set_len(bytes)?; // zeros, in no block of the disk
    }
    let (dir, hello, seconds) = (home.display(), peer::HELLO, limit.as_secs_f64());
    let idle = seconds.max(75.0); // its default
    let ssl = certificate.map_or(String::new(), |Certificate { chain, key }| {
        let (chain, key) = (chain.display(), key.display());
        format!("ssl_protocols TLSv1.3; ssl_certificate {chain}; ssl_certificate_key {key};")
    });
    let over = if certificate.is_some() { " ssl" } else { "" };
    let configuration = home.join("nginx.conf");
    fs::write(
        &configuration,
        format!(
            r#"daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr error;
events {{ worker_connections 19000; }}
http {{
    access_log off; default_type text/plain; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout {idle};
    client_max_body_size 100m; client_header_timeout {seconds}; client_body_timeout {seconds}; send_timeout {seconds};
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port}{over} backlog=1024; {ssl}
        location = /plaintext {{ return 200 "{hello}"; }}
        location /bytes/ {{ root {dir}; }}
        location = /count {{ proxy_pass http://127.0.0.1:{port}/plaintext; }}
    }}
}}
"#
        ),
    )?;
    let words = ["nginx".into(), "-p".into(), home.into(), "-c".into(), configuration.into()];
    Ok(Launch::on_port(words.to_vec(), port))
}

/// The size of an answer that nobody takes at once.
pub const LARGE: u64 = 100 << 20;

/// A server that runs.
#[derive(Debug)]
pub struct Target {
    /// Which it is.
    pub kind: Kind,
    /// Its limit of time in every phase.
    pub limit: Duration,
    /// Its process.
    pub running: Running,
    log: PathBuf,
}

impl Target {
    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Waterspout
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// A connection, blocking.
    ///
    /// # Errors
    /// When it is refused.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The path of an answer of 100 MiB, streamed where the server can.
    pub fn large(&self) -> String {
        match self.kind {
            Kind::Waterspout => format!("/chunked/{LARGE}"),
            Kind::Hyper => format!("/stream/{LARGE}"),
            Kind::Nginx => format!("/bytes/{LARGE}"),
        }
    }

    /// Memory of its own that it has in use, without what it has of files.
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(&self) -> io::Result<i64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no RssAnon in the status of the server"))
    }

    /// Descriptors that it has open.
    ///
    /// # Errors
    /// When it is gone.
    pub fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.running.pid()))?.count())
    }

    /// CPU time that it has used.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(Cpu::of(self.running.pid())?.ran)
    }

    /// The share of a CPU that it uses in the next `while_waiting`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_share(&self, while_waiting: Duration) -> io::Result<f64> {
        let (before, began) = (self.cpu()?, Instant::now());
        std::thread::sleep(while_waiting);
        Ok((self.cpu()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
    }

    /// Lines that it has logged.
    pub fn log(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// What our server counts.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn counters(&self) -> io::Result<BTreeMap<String, u64>> {
        counters(&mut Client::new(self.connect()?))
    }

    /// What the kernel holds between the server and its peer at `port`, in bytes; `None` when the server's end is no longer a socket
    /// that it has open. `table` is that of [`sockets`].
    pub fn under_way(&self, table: &str, port: u16) -> Option<u64> {
        let (server, peer) = (format!(":{:04X}", self.address().port()), format!(":{port:04X}"));
        let (mut is_open, mut bytes) = (false, 0);
        for line in table.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, here, there, _, queues, _, _, _, _, inode, ..] = words[..] else { continue };
            let queues = queues.split_once(':');
            let queues =
                queues.map(|(out, into)| [out, into].map(|n| u64::from_str_radix(n, 16).unwrap_or(0)));
            let [out, into] = queues.unwrap_or_default();
            if here.ends_with(&server) && there.ends_with(&peer) {
                is_open |= inode != "0";
                bytes += out;
            } else if here.ends_with(&peer) && there.ends_with(&server) {
                bytes += into;
            }
        }
        is_open.then_some(bytes)
    }

    /// Waits until nobody is connected, so that the next line begins from the same state.
    ///
    /// # Errors
    /// When ours does not answer.
    pub fn settle(&self, extent: Extent) -> io::Result<()> {
        if self.is_ours() {
            self.at_rest(extent)?;
        }
        Ok(())
    }

    /// Waits until nobody but the caller is connected to our server, and gives what it then counts and how many descriptors it has
    /// open. If somebody stays, that is among it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn at_rest(&self, extent: Extent) -> io::Result<(BTreeMap<String, u64>, usize)> {
        let until = Instant::now() + extent.pick(Duration::from_secs(15), Duration::from_secs(30));
        loop {
            // Each time somebody new, who leaves no more behind than the one before.
            let mut client = Client::new(self.connect()?);
            let counters = counters(&mut client)?;
            if counters.get("connections") == Some(&1) || Instant::now() >= until {
                return Ok((counters, self.descriptors()?));
            }
            drop(client);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// All TCP sockets of the system, a line each. Where tens of thousands have just been closed, this takes a second.
///
/// # Errors
/// When the system keeps no such table.
pub fn sockets() -> io::Result<String> {
    fs::read_to_string("/proc/net/tcp")
}

fn counters(client: &mut Client) -> io::Result<BTreeMap<String, u64>> {
    let answer = client.ask(get("/counters").as_bytes())?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let pair =
        |line: &str| line.split_once(' ').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
    Ok(text.lines().filter_map(pair).collect())
}
