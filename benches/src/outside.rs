//! Servers that come from outside the workspace and are compared where they are installed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::peer;
use crate::server::Launch;

/// nginx with one worker: its own configuration and files, all within `scratch`.
///
/// The worker is the process that is started (no master): its CPU time is the server's. Keep-alive has no limit, and
/// the open file is cached, as it would be on a tuned machine.
pub(crate) fn nginx(scratch: &Path) -> io::Result<Launch> {
    let port = peer::listen(0)?.local_addr()?.port();
    let home = scratch.join("nginx");
    fs::create_dir_all(home.join("bytes"))?;
    fs::write(home.join("bytes").join(peer::MAX_BODY_BYTES.to_string()), peer::body(peer::MAX_BODY_BYTES))?;
    let configuration = home.join("nginx.conf");
    let dir = home.display();
    fs::write(
        &configuration,
        format!(
            r#"daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 10000; }}
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
        listen 127.0.0.1:{port} backlog=1024;
        location = /plaintext {{ return 200 "{}"; }}
        location /bytes/ {{ root {dir}; }}
    }}
}}
"#,
            peer::HELLO
        ),
    )?;
    let words = ["nginx".into(), "-p".into(), home.into(), "-c".into(), configuration.into()];
    Ok(Launch { words: words.to_vec(), port: Some(port) })
}

/// Tornado, from the script beside the other peers.
pub(crate) fn tornado(workspace: &Path, lines: bool) -> Launch {
    let script = workspace.join("benches/peers/tornado_app.py");
    let mut words: Vec<OsString> = vec![python(), script.into(), "--port".into(), "0".into()];
    if lines {
        words.push("--lines".into());
    }
    Launch { words, port: None }
}

/// The interpreter itself, where `python3` is a script that finds it: profilers do not follow from one to the other.
fn python() -> OsString {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = found.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    path.map(|path| path.trim().into()).unwrap_or_else(|| "python3".into())
}
