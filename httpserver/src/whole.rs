//! A response that is sent whole: at once as a rule, and step by step where one of the steps may wait.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;

use crate::active::{Active, COPY_BODY_BYTES, HEAD_BYTES};
use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::file_body;
use crate::response::{Extra, Response};

/// What [`Exchange::send`] gives. Written by hand, because nearly all of them are done in one poll, for which an `async fn` would keep
/// room for the response twice, and for all that might follow.
pub(crate) struct Whole<'e, 'c> {
    exchange: &'e Exchange<'c>,
    response: Response,
    /// What is left to wait for, if something is. Boxed, like other rare waits.
    rest: Option<Rest<'e>>,
}

type Rest<'e> = Pin<Box<dyn Future<Output = Result<(), HttpError>> + 'e>>;

impl<'e, 'c> Whole<'e, 'c> {
    pub(crate) fn new(exchange: &'e Exchange<'c>, response: Response) -> Whole<'e, 'c> {
        Whole { exchange, response, rest: None }
    }
}

impl Future for Whole<'_, '_> {
    type Output = Result<(), HttpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Whole { exchange, response, rest } = &mut *self;
        let rest = match rest {
            Some(rest) => rest,
            None if goes_at_once(exchange, response) => {
                let active = exchange.active();
                let sent = active.send(response);
                if sent.is_err() || active.session.has_room() {
                    return Poll::Ready(sent);
                }
                rest.insert(Box::pin(active.session.room_for_more()))
            }
            None => {
                let response = std::mem::replace(response, Response::new(StatusCode::OK));
                rest.insert(Box::pin(send_in_steps(exchange, response)))
            }
        };
        rest.as_mut().poll(cx)
    }
}

fn goes_at_once(exchange: &Exchange<'_>, response: &Response) -> bool {
    #[cfg(feature = "gzip")]
    if exchange.options().compress_response.is_some() {
        return false;
    }
    response.extra.is_none() && exchange.active().session.has_memory_for_whole(memory_for(response))
}

/// What sending it takes, beside the response itself.
fn memory_for(response: &Response) -> usize {
    response.body.len().min(COPY_BODY_BYTES) + HEAD_BYTES
}

async fn send_in_steps(exchange: &Exchange<'_>, mut response: Response) -> Result<(), HttpError> {
    let active: &Active<'_> = exchange.active();
    match response.extra.take().map(Rc::unwrap_or_clone) {
        Some(Extra::File(file)) => return file_body::send(active, response, file).await,
        Some(Extra::Error(error)) => {
            response = active.told_codings(response, &error);
            active.note(error);
        }
        None => {}
    }
    let bytes = memory_for(&response);
    if !active.session.has_memory_for_whole(bytes) {
        active.session.memory_for(bytes).await?;
    }
    #[cfg(feature = "gzip")]
    if exchange.options().compress_response.is_some() {
        let Some(encoded) = exchange.encode_response(response).await? else { return Ok(()) };
        response = encoded;
    }
    active.send_planned(&mut response)?;
    active.session.room_for_more().await
}
