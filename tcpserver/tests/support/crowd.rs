//! A crowd of clients in a process of its own, so that the memory which a test counts is the server's alone, and each of the two has
//! its own limit on descriptors. The process is the test program once more, running nothing but [`be_the_crowd`].

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ioloop::IoLoop;
use peak_alloc::PeakAlloc;
use tcpserver::ServerHandle;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Names the server's address to the crowd.
const ADDRESS: &str = "CROWD_ADDRESS";

/// The crowd, as the test sees it. Gone when this is dropped.
pub(crate) struct Crowd {
    child: Child,
    ears: Arc<Mutex<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Crowd {
    /// Starts it; `test` is the name of the ignored test that calls [`be_the_crowd`].
    pub(crate) fn start(test: &str, server: SocketAddr) -> Crowd {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(ADDRESS, server.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Crowd { child, ears: Arc::new(Mutex::new((stdin, BufReader::new(stdout)))) }
    }

    /// Has so many connections open, the oldest of them those that were there before.
    pub(crate) async fn is(&self, connections: usize) {
        let ears = Arc::clone(&self.ears);
        let heard = IoLoop::current().run_in_executor(move || {
            let (stdin, stdout) = &mut *ears.lock().unwrap();
            writeln!(stdin, "{connections}").unwrap();
            stdout.lines().map_while(Result::ok).any(|line| line == format!("crowd: {connections}"))
        });
        assert!(heard.await.unwrap(), "the crowd has gone");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the crowd does: it connects, asks, and waits for the answer, so often as it is told.
pub(crate) fn be_the_crowd(asks: &[u8], answered: impl Fn(&[u8]) -> bool) {
    let Ok(server) = std::env::var(ADDRESS) else { return };
    netutil::raise_descriptor_limit().unwrap();
    let mut connections = Vec::new();
    for line in std::io::stdin().lines() {
        let wanted: usize = line.unwrap().parse().unwrap();
        connections.truncate(wanted);
        while connections.len() < wanted {
            let mut connection = TcpStream::connect(&server).unwrap();
            connection.write_all(asks).unwrap();
            let (mut answer, mut len) = ([0; 1024], 0);
            while !answered(&answer[..len]) {
                let n = connection.read(&mut answer[len..]).unwrap();
                assert!(n > 0, "the server has closed a connection");
                len += n;
            }
            connections.push(connection);
        }
        println!("\ncrowd: {wanted}");
    }
}

/// What memory came to: bytes that are allocated, and those of them that are this process's in physical memory.
#[derive(Clone, Copy, Debug)]
struct Held {
    counted: usize,
    resident: usize,
}

impl Held {
    fn now() -> Held {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let kib = |name| -> Option<usize> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Held { counted: MEMORY.current_usage(), resident: kib("Private_Dirty:").unwrap_or(0) * 1024 }
    }

    /// Bytes per connection between two crowds.
    fn slope(few: Held, many: Held, more: usize) -> Held {
        let each = |few: usize, many: usize| many.saturating_sub(few) / more;
        Held { counted: each(few.counted, many.counted), resident: each(few.resident, many.resident) }
    }
}

/// What idle connections to a server cost: the slope from 1,000 to 15,000 of them, the same the second time, and nothing of it
/// stays: when all have gone, memory is within a tenth of what it was before they came.
pub(crate) fn assert_idle_connections_cost(
    server: &ServerHandle,
    crowd: &Crowd,
    counted: usize,
    resident: usize,
) {
    const FEW: usize = 1_000;
    const MANY: usize = 15_000;
    /// A server clears up when nobody has left for half a second, which it looks for every half second.
    const CLEARED_UP: std::time::Duration = std::time::Duration::from_secs(2);
    let held = Rc::new(RefCell::new(Vec::new()));
    let (results, server) = (Rc::clone(&held), server.clone());
    let steps = async {
        // The first few have made what is made once and for all, the loop's reserve too.
        for connections in [20, 0, FEW, MANY, FEW, MANY, 0] {
            crowd.is(connections).await;
            while server.open_connections() != connections {
                ioloop::sleep(std::time::Duration::from_millis(1)).await;
            }
            if connections < MANY {
                ioloop::sleep(CLEARED_UP).await;
            }
            if results.borrow().len() < 6 {
                iostream::release_free_blocks(); // when all have gone the server does it
            }
            results.borrow_mut().push(Held::now());
        }
    };
    IoLoop::current().run_sync(steps).unwrap();
    let [_, nobody, held @ .., gone] = &held.take()[..] else { unreachable!("there are seven") };
    let first = Held::slope(held[0], held[1], MANY - FEW);
    let second = Held::slope(held[2], held[3], MANY - FEW);
    println!("bytes a connection: {first:?}, the second time {second:?}; {held:?}");
    assert!(first.counted <= counted, "{} bytes counted", first.counted);
    assert!(first.resident <= resident, "{} bytes resident", first.resident);
    assert!(first.counted.abs_diff(second.counted) * 20 <= first.counted, "{first:?}, then {second:?}");
    let stays = held[2].counted.saturating_sub(held[0].counted);
    assert!(stays * 10 <= held[0].counted, "{stays} bytes stay of a crowd that has left");
    println!("before anybody came {nobody:?}, when all had gone {gone:?}");
    assert!(gone.counted * 10 <= nobody.counted * 11, "{} bytes, then {}", nobody.counted, gone.counted);
}
