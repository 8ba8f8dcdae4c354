//! One loop that accepts for all, and hands each connection to the loop that has the fewest.

use std::sync::Arc;

use ioloop::{IoLoop, LoopsHandle};

use crate::accept::accept_admitted;
use crate::entrance::{Entrance, ListenOptions};
use crate::error::ListenError;
use crate::handle::ServerHandle;
use crate::log::logged;
use crate::servers::member::{Gauge, Group, Member, Registered, hand_over};

/// Accepts on the current loop, once the others are ready, until they have ended.
pub(crate) async fn dispatch(group: Arc<Group>, loops: LoopsHandle) {
    if loops.ready().await.is_err() {
        return group.close_queue();
    }
    match begin(&group) {
        Ok(_registered) => _ = loops.ended().await,
        Err(error) => {
            logged(|| tracing::error!(%error, "cannot accept for the loops; they are stopped"));
            group.close_queue();
            loops.stop();
        }
    }
}

fn begin(group: &Arc<Group>) -> Result<Registered, ListenError> {
    let server = ServerHandle::new();
    let admission = &server.state.admission;
    if let Some(settings) = group.gauges.iter().find_map(Gauge::settings) {
        admission.set_when_full(settings.admission.when_full);
        if settings.admission.idle_makes_room {
            admission.let_idle_make_room();
        }
        if settings.admission.most.is_some() {
            admission.limit(usize::MAX); // the loops have limits of their own
        }
    }
    group.accept_from_here(&IoLoop::current());
    admission.accept_for(Arc::clone(group));
    let mut handles = Vec::new();
    for (way, queued) in group.queue().iter().enumerate() {
        for listener in queued.of_loop(0)? {
            listener.set_nodelay()?;
            let entrance = Entrance::new(server.clone(), ListenOptions::new());
            let (group, server, mut last) = (Arc::clone(group), server.clone(), 0);
            handles.push(accept_admitted(listener, entrance, move |connection, peer| {
                if let Err(refused) = hand_over(&group, &mut last, way, connection, peer) {
                    server.state.tally.count(|metrics| metrics.shed.max_connections += 1);
                    drop(refused);
                }
            })?);
        }
    }
    server.state.listeners.borrow_mut().extend(handles);
    Ok(Member::register(group.acceptor, server, Vec::new()))
}
