//! Servers that come from outside the workspace and are compared where they are installed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use crate::peer;
use crate::scenario::{Over, Scenario, Traffic};
use crate::server::{Launch, Places};

/// nginx with as many workers as the scenario has loops: its own configuration and files, all within the scratch folder.
///
/// A single worker is the process that is started (no master). Keep-alive has no limit, and the open file is cached, as
/// it would be on a tuned machine.
pub(crate) fn nginx(scenario: &Scenario, places: &Places) -> io::Result<Launch> {
    let port = peer::listen(0)?.local_addr()?.port();
    let home = places.scratch.path().join(format!("nginx-{port}"));
    fs::create_dir_all(home.join("bytes"))?;
    if let Traffic::GetBytes(bytes) = scenario.traffic {
        write_file(&home.join("bytes").join(bytes.to_string()), bytes)?;
    }
    let configuration = home.join("nginx.conf");
    fs::write(&configuration, nginx_configuration(scenario, places, &home, port))?;
    let words = ["nginx".into(), "-p".into(), home.into(), "-c".into(), configuration.into()];
    Ok(Launch { loops: scenario.loops, ..Launch::on_port(words.to_vec(), port) })
}

fn nginx_configuration(scenario: &Scenario, places: &Places, home: &Path, port: u16) -> String {
    let dir = home.display();
    let (master, workers) = if scenario.loops > 1 { ("on", scenario.loops) } else { ("off", 1) };
    let certificate = &places.certificate;
    let (ssl, files) = match scenario.over {
        Over::Tcp => ("", String::new()),
        Over::Tls => (
            " ssl",
            format!(
                "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                certificate.chain.display(),
                certificate.key.display()
            ),
        ),
    };
    format!(
        r#"daemon off;
master_process {master};
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=16;
    default_type text/plain;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port}{ssl} backlog=1024;
        {files}
        location = /plaintext {{ return 200 "{}"; }}
        location /bytes/ {{ root {dir}; }}
    }}
}}
"#,
        peer::HELLO
    )
}

fn write_file(path: &Path, mut bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    while bytes > 0 {
        let piece = peer::body(bytes.min(peer::PIECE_BYTES as u64) as usize);
        file.write_all(piece)?;
        bytes -= piece.len() as u64;
    }
    Ok(())
}

/// Tornado, from the script beside the other peers.
pub(crate) fn tornado(workspace: &Path, lines: bool) -> Vec<OsString> {
    let script = workspace.join("benches/peers/tornado_app.py");
    let mut words: Vec<OsString> = vec![python(), script.into()];
    if lines {
        words.push("--lines".into());
    }
    words
}

/// Node, from the script beside the other peers.
pub(crate) fn node(workspace: &Path) -> Vec<OsString> {
    vec!["node".into(), workspace.join("benches/peers/node_app.mjs").into()]
}

/// The interpreter itself, where `python3` is a script that finds it: profilers do not follow from one to the other.
pub(crate) fn python() -> OsString {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = found.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    path.map(|path| path.trim().into()).unwrap_or_else(|| "python3".into())
}
