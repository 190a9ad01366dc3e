//! The thread that starts the workers, reaps them, keeps the deadlines, and hears what nobody else does.

use std::sync::Arc;
use std::time::Instant;

use crate::mailbox::Mailbox;

/// The supervisor's thread. It is the parent of the workers, and so must outlive them.
pub(crate) struct Supervisor {
    mailbox: Arc<Mailbox>,
}

impl Supervisor {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox }
    }

    /// Works until the pool is closed.
    pub(crate) fn run(self) {
        // Whatever ends this thread, no ticket is left without an answer.
        let _last = GiveUp(&self.mailbox);
        let watch = self.mailbox.watch();
        let mut seen = Vec::new();
        loop {
            let deadline = {
                let mut core = self.mailbox.core();
                if core.supervise(watch, &seen) {
                    return;
                }
                core.arm(Instant::now())
            };
            self.mailbox.take_what_came_meanwhile();
            match watch.wait(deadline, &mut seen) {
                Ok(true) => self.mailbox.silence_bell(),
                Ok(false) => {}
                // Nothing can be supervised without waiting.
                Err(_) => return,
            }
        }
    }
}

struct GiveUp<'a>(&'a Mailbox);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
