//! What can go wrong when a server starts to listen.

use std::convert::Infallible;
use std::io;

use ioloop::LoopsError;
use netutil::BindError;
use thiserror::Error;

/// Why a server does not listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A server is started once, and nothing can be bound for it afterwards.
    #[error("the server was started already")]
    AlreadyStarted,
    /// The loops could not be started.
    #[error(transparent)]
    Loops(#[from] LoopsError),
    /// A bound socket could not be used on this loop.
    #[error("cannot listen on the loop: {0}")]
    Register(#[from] io::Error),
}

/// A [`Listener`](crate::Listener) is one already: this is what makes it welcome where a listener is made from
/// something else.
impl From<Infallible> for ListenError {
    fn from(never: Infallible) -> ListenError {
        match never {}
    }
}
