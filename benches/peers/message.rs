//! What `/json` serialises for each request, the same in every peer.

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Message {
    message: &'static str,
}

impl Message {
    pub(crate) const HELLO: Message = Message { message: benches::peer::HELLO };
}
