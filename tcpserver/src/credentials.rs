//! Who is at the other end of a Unix socket, by the word of the kernel.

/// The process that has connected to a Unix socket, as it was then: SO_PEERCRED, unix(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its number; `None` if it has none here, as it is in another namespace. It may have ended since, and the number may be
    /// another's: good for a log, not for a decision.
    pub process: Option<u32>,
    /// Its effective user, as this process numbers them.
    pub user: u32,
    /// Its effective group, likewise.
    pub group: u32,
}

impl PeerCredentials {
    #[cfg(target_os = "linux")]
    pub(crate) fn of(stream: &iostream::IoStream) -> Option<PeerCredentials> {
        use nix::sys::socket::{getsockopt, sockopt};

        let credentials =
            stream.with_descriptor(|socket| getsockopt(&socket, sockopt::PeerCredentials))?.ok()?;
        Some(PeerCredentials {
            process: u32::try_from(credentials.pid()).ok().filter(|process| *process > 0),
            user: credentials.uid(),
            group: credentials.gid(),
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: &iostream::IoStream) -> Option<PeerCredentials> {
        None
    }
}
