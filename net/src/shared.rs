//! What all tasks of a transport share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::complaints::Complaints;
use crate::config::TransportConfig;
use crate::inbound::Inbound;
use crate::meter::Meters;
use crate::stream::Sockets;

/// About how much is encoded for one write, in bytes; a single message may be more.
pub(crate) const WRITE_BATCH_BYTES: usize = 1024 * 1024;

pub(crate) struct Shared {
    pub(crate) config: TransportConfig,
    /// Where this node is reached, if it was told so since it started.
    pub(crate) advertised: Mutex<Option<String>>,
    pub(crate) sockets: Arc<dyn Sockets>,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) complaints: Complaints,
    pub(crate) meters: Meters,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
}

impl Shared {
    /// The configuration for a call, with where this node is reached now.
    pub(crate) fn config_to_call(&self) -> TransportConfig {
        let mut config = self.config.clone();
        // A panic elsewhere leaves the address whole.
        let advertised = self.advertised.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = &*advertised {
            config.advertise = Some(address.clone());
        }
        config
    }

    /// Runs a task on the transport's runtime until it ends or the transport stops. Callable from
    /// any thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let until_stopped = async move {
            // What the task holds is dropped here, inside the task, in either case.
            stop.run_until_cancelled_owned(task).await;
        };
        self.tasks.spawn_on(until_stopped, &self.runtime);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use actix_raft_core::message::Message;
    use actix_raft_core::types::NodeId;
    use bytes::Bytes;

    use super::*;
    use crate::inbound::Responder;
    use crate::stream::Tcp;

    struct NoOne;

    impl Inbound for NoOne {
        fn messages(&self, _: Vec<Message>) {}
        fn request(&self, _: NodeId, _: Bytes, _: Responder) {}
        fn unreachable(&self, _: NodeId) {}
    }

    /// What the tasks of a transport share where no one listens.
    pub(crate) fn shared(config: TransportConfig) -> Shared {
        Shared {
            config,
            advertised: Mutex::default(),
            sockets: Arc::new(Tcp),
            inbound: Arc::new(NoOne),
            complaints: Complaints::default(),
            meters: Meters::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }
}
