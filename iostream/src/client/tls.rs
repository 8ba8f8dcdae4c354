//! The step after the connection: TLS for the host's name, under the same deadline (TC8).

use ioloop::Deadline;

use super::before;
use super::error::{ConnectError, ConnectStep, Question};
use crate::stream::IoStream;
use crate::tls::{TlsClientConfig, check_server_name};

/// Finds out before anything is opened that `host` is no name for TLS.
pub(super) fn check_name(
    config: Option<&TlsClientConfig>,
    question: &Question<'_>,
) -> Result<(), ConnectError> {
    match config {
        Some(_) => check_server_name(question.host).map_err(|error| question.no_tls(error)),
        None => Ok(()),
    }
}

pub(super) async fn begin(
    config: Option<&TlsClientConfig>,
    stream: &IoStream,
    question: &Question<'_>,
    end: &mut Deadline,
) -> Result<(), ConnectError> {
    let Some(config) = config else { return Ok(()) };
    let pending = stream.peer_addr().into_iter().collect(); // who is given up is closed
    match before(end, stream.start_tls_client(config, question.host)).await {
        Some(result) => result.map_err(|error| question.no_tls(error)),
        None => Err(question.timed_out(ConnectStep::Handshake, vec![], pending)),
    }
}
