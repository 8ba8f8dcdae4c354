//! What can go wrong when a server starts to listen.

use std::convert::Infallible;
use std::io;

use netutil::BindError;
use thiserror::Error;

/// Why a server does not listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
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
