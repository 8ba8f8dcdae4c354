//! A path becomes a listening Unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{self, Path};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{BindError, BindStep};
use crate::options::{DEFAULT_BACKLOG, listen_backlog};
use crate::platform::set_reuse_address;
use crate::unlink_on_drop::{UnlinkOnDrop, forgive_missing};

/// For the owner alone; whoever wants more says so.
const DEFAULT_MODE: u32 = 0o600;

/// The options of [`bind_unix_socket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixBindOptions {
    /// None until chosen: a mode on an abstract name is refused, the default is not.
    mode: Option<u32>,
    backlog: u32,
}

impl UnixBindOptions {
    /// Mode `0o600`, a backlog of [`DEFAULT_BACKLOG`].
    #[must_use]
    pub fn new() -> Self {
        Self { mode: None, backlog: DEFAULT_BACKLOG }
    }

    /// The mode of the socket file, whatever the umask. Default: `0o600`. To connect, one needs write
    /// permission.
    ///
    /// An abstract name has no file, so choosing a mode for one is an error: it would promise what nobody
    /// keeps.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How many connections may wait to be accepted. Default: [`DEFAULT_BACKLOG`].
    ///
    /// The kernel caps it silently (Linux: `net.core.somaxconn`); 0 means the smallest queue it has.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }
}

impl Default for UnixBindOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Binds a Unix stream socket to `path`, and listens.
///
/// The listener is nonblocking and close-on-exec. Its file stays when it closes, as with Tornado; if it shall
/// not, use [`bind_unix_socket_guarded`].
///
/// A path that begins with a NUL byte is an abstract name (Linux and Android): it has no file and vanishes
/// with the socket. **Abstract names have no permissions**; everybody in the network namespace may connect.
///
/// What has the path already decides what happens:
/// - nothing: the path is taken;
/// - a socket that nobody serves, left by a process that was killed: it is replaced;
/// - a live socket: error, and it stays. To find out, this function connects to it, so its server sees a
///   connection that closes at once;
/// - a symbolic link to a socket: likewise, where "replaced" means the link; its target stays;
/// - any other file: error, and it stays.
///
/// The mode is set between `bind` and `listen`, so that nobody can connect while the file has the umask's
/// mode.
///
/// The directory should belong to whoever binds: all this works on names, and whoever may rename files there
/// can point the name elsewhere between two steps.
///
/// Two servers that start on one path in the same instant may both find it free, and the later one then has
/// it: the system offers no way to tell a socket that does not listen *yet* from one that never will. BSD and
/// macOS moreover refuse connections when a live server's queue is full, just as if nobody served it. Where
/// that can happen, let a supervisor or a lock file decide.
///
/// # Errors
///
/// A [`BindError`] that names path and step. No socket stays open and no new file stays behind; a dead
/// socket's file may be gone by then.
/// - [`LiveSocket`](BindError::LiveSocket), [`NotASocket`](BindError::NotASocket): the path is taken.
/// - [`InvalidPath`](BindError::InvalidPath): empty, too long (Linux: 107 bytes), a NUL inside, or an
///   abstract name on a system without them.
/// - [`InvalidMode`](BindError::InvalidMode), [`AbstractMode`](BindError::AbstractMode): see
///   [`UnixBindOptions::mode`].
/// - [`Unix`](BindError::Unix): a system call failed.
pub fn bind_unix_socket(
    path: impl AsRef<Path>,
    options: &UnixBindOptions,
) -> Result<UnixListener, BindError> {
    let (listener, file) = bind_unix_socket_guarded(path, options)?;
    file.keep();
    Ok(listener)
}

/// Like [`bind_unix_socket`], with a guard that removes the socket file when dropped.
///
/// ```
/// use netutil::{UnixBindOptions, bind_unix_socket_guarded};
///
/// let path = std::env::temp_dir().join(format!("netutil-{}.sock", std::process::id()));
/// let (listener, file) = bind_unix_socket_guarded(&path, &UnixBindOptions::new().mode(0o660))?;
/// assert!(path.exists());
/// drop(file);
/// assert!(!path.exists());
/// # drop(listener);
/// # Ok::<(), netutil::BindError>(())
/// ```
///
/// # Errors
///
/// Those of [`bind_unix_socket`].
pub fn bind_unix_socket_guarded(
    path: impl AsRef<Path>,
    options: &UnixBindOptions,
) -> Result<(UnixListener, UnlinkOnDrop), BindError> {
    let path = path.as_ref();
    let (socket, file) = bind(path, options)?;
    socket.listen(listen_backlog(options.backlog)).map_err(failed(path, BindStep::Listen))?;
    Ok((socket.into(), file))
}

/// Everything but `listen`: the socket has its name, and its file the mode.
fn bind(path: &Path, options: &UnixBindOptions) -> Result<(Socket, UnlinkOnDrop), BindError> {
    let mode = checked_mode(path, options.mode)?;
    let address = checked_address(path)?;
    let socket = new_socket().map_err(failed(path, BindStep::Socket))?;
    socket.set_nonblocking(true).map_err(failed(path, BindStep::Nonblocking))?;
    set_reuse_address(&socket).map_err(failed(path, BindStep::ReuseAddress))?;
    if is_abstract(path) {
        socket.bind(&address).map_err(failed(path, BindStep::Bind))?;
        return Ok((socket, UnlinkOnDrop::nothing()));
    }

    // Only the guard needs the absolute path. bind gets the path as given: made absolute it may be too long.
    let absolute = path::absolute(path).map_err(failed(path, BindStep::Stat))?;
    make_way(path, &address)?;
    socket.bind(&address).map_err(failed(path, BindStep::Bind))?;
    // A file that cannot be looked at here could not be removed either.
    let file = UnlinkOnDrop::new(absolute).map_err(failed(path, BindStep::Stat))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed(path, BindStep::Chmod))?;
    Ok((socket, file))
}

/// Close-on-exec, like all that socket2 makes.
fn new_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM, None)
}

fn failed(path: &Path, step: BindStep) -> impl FnOnce(io::Error) -> BindError + '_ {
    move |source| BindError::Unix { path: path.to_owned(), step, source }
}

fn checked_mode(path: &Path, mode: Option<u32>) -> Result<u32, BindError> {
    match mode {
        Some(mode) if mode > 0o7777 => Err(BindError::InvalidMode { mode }),
        Some(_) if is_abstract(path) => Err(BindError::AbstractMode { path: path.to_owned() }),
        mode => Ok(mode.unwrap_or(DEFAULT_MODE)),
    }
}

/// Whether `path` is a name in Linux's abstract namespace (NU2.2).
fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

/// The path as a socket address. The kernel would stop at a NUL, and binding the empty path has it invent a
/// name.
fn checked_address(path: &Path) -> Result<SockAddr, BindError> {
    let invalid = |reason| BindError::InvalidPath { path: path.to_owned(), reason };
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(invalid("it is empty"));
    }
    if is_abstract(path) {
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return Err(invalid("this system has no abstract names"));
        }
    } else if bytes.contains(&0) {
        return Err(invalid("it contains a NUL byte"));
    }
    SockAddr::unix(path).map_err(|_| invalid("it is too long"))
}

/// Removes a dead socket from `path`, or says why the path cannot be had.
fn make_way(path: &Path, address: &SockAddr) -> Result<(), BindError> {
    // Follows symbolic links; remove_file below does not (NU2.4).
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, BindStep::Stat)(error)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match Occupant::from_probe(probe(address)).map_err(failed(path, BindStep::Probe))? {
        Occupant::Live => Err(BindError::LiveSocket { path: path.to_owned() }),
        Occupant::Dead => forgive_missing(fs::remove_file(path)).map_err(failed(path, BindStep::Unlink)),
        Occupant::Gone => Ok(()),
    }
}

/// Nonblocking, because Linux lets a blocking connect wait for room in a full queue.
fn probe(address: &SockAddr) -> io::Result<()> {
    let client = new_socket()?;
    client.set_nonblocking(true)?;
    client.connect(address)
}

/// Who has the path, judging by a connect to it.
#[derive(Debug, PartialEq, Eq)]
enum Occupant {
    Live,
    Dead,
    Gone,
}

impl Occupant {
    /// Dead only on the one answer that says so. What stays unclear (EACCES, no descriptors left) is an
    /// error: no file is removed on a guess.
    fn from_probe(outcome: io::Result<()>) -> io::Result<Self> {
        let Err(error) = outcome else { return Ok(Self::Live) };
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Ok(Self::Dead),
            Some(libc::ENOENT) => Ok(Self::Gone),
            // A live server with a full queue; a live socket of another type, for instance a datagram one.
            Some(libc::EAGAIN | libc::EINPROGRESS | libc::EPROTOTYPE) => Ok(Self::Live),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nu2_3_only_a_refused_connection_means_a_dead_socket() {
        let judge = |number| Occupant::from_probe(Err(io::Error::from_raw_os_error(number)));
        assert_eq!(Occupant::from_probe(Ok(())).expect("an answer"), Occupant::Live);
        assert_eq!(judge(libc::ECONNREFUSED).expect("an answer"), Occupant::Dead);
        assert_eq!(judge(libc::ENOENT).expect("an answer"), Occupant::Gone);
        assert_eq!(judge(libc::EAGAIN).expect("an answer"), Occupant::Live);
        assert_eq!(judge(libc::EINPROGRESS).expect("an answer"), Occupant::Live);
        assert_eq!(judge(libc::EPROTOTYPE).expect("an answer"), Occupant::Live);
        for unclear in [libc::EACCES, libc::EMFILE, libc::ENOMEM, libc::EINTR] {
            assert_eq!(judge(unclear).expect_err("unclear").raw_os_error(), Some(unclear));
        }
    }

    #[test]
    fn nu2_5_the_mode_is_set_before_anybody_can_connect() {
        let path = std::env::temp_dir().join(format!("netutil-order-{}.sock", std::process::id()));
        let (socket, file) = bind(&path, &UnixBindOptions::new().mode(0o640)).expect("the path is free");

        let mode = fs::metadata(&path).expect("the file exists").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        let address = SockAddr::unix(&path).expect("a short path");
        assert_eq!(probe(&address).expect_err("not listening").kind(), io::ErrorKind::ConnectionRefused);

        drop((file, socket));
        assert!(!path.exists());
    }
}
