//! The guard that removes a Unix socket's file, and only that file.

use std::fs::{self, Metadata};
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Removes the file of a Unix socket when dropped.
///
/// It comes from [`bind_unix_socket_guarded`](crate::bind_unix_socket_guarded) and owns the *name*; the
/// listener, and any clone of it, owns the *socket*. They are independent: move the listener into a server
/// and keep the guard where the program's life is decided. Dropping the guard first is the better order (new
/// clients find nothing, instead of a socket that refuses them), and `let (listener, file) = …` drops in that
/// order by itself.
///
/// The guard removes the file that was bound and nothing else. When another server has taken over the path
/// since, its file stays. The path is made absolute at the start, so a later change of the working directory
/// does no harm.
///
/// A process that is killed drops nothing and leaves its file. That is harmless: the next
/// [`bind_unix_socket`](crate::bind_unix_socket) finds that nobody answers there, and replaces it.
#[derive(Debug)]
#[must_use = "dropping the guard removes the socket file at once"]
pub struct UnlinkOnDrop {
    /// None for an abstract name, and when there is nothing left to remove.
    file: Option<(PathBuf, Identity)>,
}

impl UnlinkOnDrop {
    /// Guards the file that `path` names now; `path` should be absolute.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let identity = Identity::of(&fs::symlink_metadata(&path)?);
        Ok(Self { file: Some((path, identity)) })
    }

    /// For an abstract name, which vanishes with its socket.
    pub(crate) fn nothing() -> Self {
        Self { file: None }
    }

    /// The absolute path of the file, or None for an abstract name.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Lets the file stay: for a successor that goes on listening on a duplicate of the socket.
    pub fn keep(mut self) {
        self.file = None;
    }

    /// Removes the file now. Drop does the same and has nobody to tell about an error.
    ///
    /// A file that is gone already, or that belongs to another socket by now, is no error and stays as it is.
    ///
    /// # Errors
    ///
    /// What the system says, for instance when the directory has become read-only. The file then stays.
    pub fn unlink(mut self) -> io::Result<()> {
        self.remove_file()
    }

    fn remove_file(&mut self) -> io::Result<()> {
        let Some((path, identity)) = mem::take(&mut self.file) else { return Ok(()) };
        let outcome = match fs::symlink_metadata(&path) {
            Ok(found) if Identity::of(&found) == identity => fs::remove_file(&path),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        forgive_missing(outcome)
    }
}

impl Drop for UnlinkOnDrop {
    fn drop(&mut self) {
        let _ = self.remove_file();
    }
}

/// What tells one file from the next at the same path.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Once the listener is closed and its file replaced, the new file may get the old inode number, but
    /// hardly the old time. None on file systems that do not keep it.
    created: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), created: metadata.created().ok() }
    }
}

/// Whoever removed the file before us did what we wanted.
pub(crate) fn forgive_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nu2_6_a_new_file_with_the_old_inode_number_is_another_file() {
        let birth = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let old = Identity { device: 1, inode: 2, created: birth(3) };
        assert_eq!(old, Identity { device: 1, inode: 2, created: birth(3) });
        assert_ne!(old, Identity { device: 1, inode: 2, created: birth(4) });
        assert_ne!(old, Identity { device: 1, inode: 3, created: birth(3) });
        assert_ne!(old, Identity { device: 2, inode: 2, created: birth(3) });
    }

    #[test]
    fn nu2_6_a_file_keeps_its_identity_when_its_mode_changes() {
        let path = std::env::temp_dir().join(format!("netutil-identity-{}", std::process::id()));
        fs::write(&path, "").expect("a new file");
        let file = UnlinkOnDrop::new(path.clone()).expect("the file is there");
        let mut permissions = fs::metadata(&path).expect("the file is there").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).expect("the file is ours");
        drop(file);
        assert!(!path.exists());
    }
}
