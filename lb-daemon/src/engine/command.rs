//! How others ask the engine: a request goes in by a channel, its answer comes back by another.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

use super::Engine;
use super::network::Later;
use crate::api::types::{Kind, Problem};

/// Something that the engine can be asked for.
pub trait Request: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// Does it; nobody else touches the engine meanwhile.
    fn perform(
        self,
        engine: &mut Engine,
    ) -> impl Future<Output = Result<Self::Answer, Problem>> + Send;
}

/// The engine, to be asked from any task. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Box<dyn Job>>);

/// Where requests arrive: what the engine's loop takes them from.
#[derive(Debug)]
pub struct Jobs(mpsc::Receiver<Box<dyn Job>>);

impl Jobs {
    /// The next one; `None` when nobody can ask any more.
    pub(super) async fn next(&mut self) -> Option<Box<dyn Job>> {
        self.0.recv().await
    }
}

/// How many requests may wait.
const WAITING: usize = 128;

impl Handle {
    /// A handle, and where its requests arrive.
    pub fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Jobs(receiver))
    }

    /// Asks, and waits for the answer.
    ///
    /// A request that was taken up is carried out also when nobody waits for the answer any more.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Answer, Problem> {
        let (reply, answer) = oneshot::channel();
        let stopping = || {
            Problem::new(Kind::Busy, "the daemon is stopping")
                .hint("try again when it has started anew")
        };
        self.0
            .send(Box::new(Call { request, reply }))
            .await
            .map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// A request with the way back, whatever it asks for.
pub(crate) trait Job: Send + std::fmt::Debug {
    /// Carries it out and answers.
    fn run<'e>(self: Box<Self>, engine: &'e mut Engine) -> Later<'e, ()>;
}

struct Call<R: Request> {
    request: R,
    reply: oneshot::Sender<Result<R::Answer, Problem>>,
}

impl<R: Request> std::fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<R>())
    }
}

impl<R: Request> Job for Call<R> {
    fn run<'e>(self: Box<Self>, engine: &'e mut Engine) -> Later<'e, ()> {
        let Self { request, reply } = *self;
        Box::pin(async move {
            let answer = request.perform(engine).await;
            // Who asked may have gone away.
            let _ = reply.send(answer);
        })
    }
}
