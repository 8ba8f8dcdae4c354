//! Two instances behind a proxy that balances, restarted in turn under load.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, get};
use super::report::Finding;
use super::target::{Kind, Place, Start, Target};
use super::{Extent, Findings};
use crate::peer;
use crate::server::Launch;

pub(super) fn fifty_restarts(place: &Place, extent: Extent) -> Findings {
    let restarts = extent.pick(50, 4);
    let ports = [free_port()?, free_port()?];
    let start = |port: u16| place.start(Kind::Waterspout, Start { port, ..Start::default() });
    let mut instances = [start(ports[0])?, start(ports[1])?];
    let proxy = place.start_proxy(|dir, port| configuration(dir, port, ports))?;
    let enough = Arc::new(AtomicBool::new(false));
    let (answered, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for number in 0..8 {
        let (enough, answered, failed) = (Arc::clone(&enough), Arc::clone(&answered), Arc::clone(&failed));
        let address = proxy.address();
        clients.push(thread::spawn(move || {
            let path = if number % 4 == 0 { "/sleep/5" } else { "/plaintext" };
            while !enough.load(Ordering::Relaxed) {
                let Ok(stream) = std::net::TcpStream::connect(address) else {
                    failed.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                let mut client = Client::new(stream);
                for _ in 0..100 {
                    match client.ask(get(path).as_bytes()) {
                        Ok(answer) if answer.status == 200 => answered.fetch_add(1, Ordering::Relaxed),
                        _ => failed.fetch_add(1, Ordering::Relaxed),
                    };
                }
            }
        }));
    }
    let began = Instant::now();
    for restart in 0..restarts {
        let before = answered.load(Ordering::Relaxed);
        let instance: &mut Target = &mut instances[restart % 2];
        instance.running.signal(Signal::TERM)?;
        let (status, _) = instance.running.wait(Duration::from_secs(40))?;
        if !status.success() {
            return Err(format!("an instance ended with {status}").into());
        }
        *instance = start(ports[restart % 2])?;
        // The other one goes when this one has had its share.
        let until = Instant::now() + Duration::from_secs(5);
        while answered.load(Ordering::Relaxed) < before + 200 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
    enough.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| _ = client.join());
    let (answered, failed) = (answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    let seen = format!(
        "{failed} failed of {}, {restarts} restarts in {:.0} s",
        answered + failed,
        began.elapsed().as_secs_f64()
    );
    Ok(vec![Finding::fact(
        "two instances behind nginx, 50 rolling restarts under load",
        "no request fails",
        seen,
        failed == 0 && answered > 0,
    )])
}

fn free_port() -> io::Result<u16> {
    Ok(peer::listen(0)?.local_addr()?.port())
}

/// nginx as people set it up: connections to the instances are kept, and a request that one does not take goes to the other.
fn configuration(home: &std::path::Path, port: u16, instances: [u16; 2]) -> io::Result<Launch> {
    let (dir, [one, other]) = (home.display(), instances);
    let file = home.join("nginx.conf");
    fs::write(
        &file,
        format!(
            r#"daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    upstream both {{ server 127.0.0.1:{one} max_fails=0; server 127.0.0.1:{other} max_fails=0; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ proxy_pass http://both; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"#
        ),
    )?;
    let words = ["nginx".into(), "-p".into(), home.into(), "-c".into(), file.into()];
    Ok(Launch::on_port(words.to_vec(), port))
}
