//! `run` as the child of a server, which starts one for each topology.

use std::time::Duration;

use super::LOOK_EVERY;
use super::screen::View;
use crate::error::{Error, Result};

/// How often a child looks for messages to show. More often would wake an idle process for nothing:
/// the server hears by the socket what happens.
const CHILD_LOOK_EVERY: Duration = Duration::from_secs(5);

/// The messages from a server to its children.
#[derive(Debug, clap::Args)]
pub(crate) struct Child {
    /// The server that started this process, which ends with it
    #[arg(long, hide = true, value_name = "PID")]
    child_of: Option<u32>,
    /// Spouts emit nothing until somebody activates the topology
    #[arg(long, hide = true)]
    pub inactive: bool,
}

impl Child {
    /// True for the child of a server.
    pub(crate) fn is_child(&self) -> bool {
        self.child_of.is_some()
    }

    /// Sees to it that this process ends with its server, however that ends.
    ///
    /// # Errors
    /// If the server has ended already.
    pub(crate) fn end_with_parent(&self) -> Result<()> {
        let Some(parent) = self.child_of else { return Ok(()) };
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|error| Error::fatal("can't end with the server").because(error))?;
        let found = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if found != i32::try_from(parent).ok() {
            return Err(Error::fatal("the server that started this process has ended"));
        }
        Ok(())
    }

    /// Where the reports of a child go: its server asks for them, and needs the messages only.
    pub(crate) fn view(&self) -> Option<View> {
        self.is_child().then_some(View::Messages)
    }

    /// The interval at which to look for messages.
    pub(crate) fn look_every(&self) -> Duration {
        if self.is_child() { CHILD_LOOK_EVERY } else { LOOK_EVERY }
    }
}
