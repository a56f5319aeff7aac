//! How do tasks learn that it is time to stop?

use tokio::sync::watch;

/// Says stop, to everybody, once.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper, and what hears it. Without its stopper, a task stops too.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns when it is time to stop.
    pub async fn wait(&mut self) {
        // An error means that nobody can say it any more.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
