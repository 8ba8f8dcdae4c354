//! What `compare` and `instructions` have in common: which scenarios, which servers, and that they are built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::building::build;
use crate::machine::Cpus;
use crate::scenario::{SCENARIOS, Scenario};
use crate::server::{BASELINE, Places, SERVERS, Server};

/// What was asked for.
#[derive(Debug)]
pub struct Selection {
    /// Scenario names, or beginnings of them; all when there are none.
    pub scenarios: Vec<String>,
    /// Server names; all when there are none. The floor is always among them.
    pub peers: Vec<String>,
    /// Build before running.
    pub build: Build,
    /// Who runs where.
    pub cpus: Cpus,
}

/// Whether programs are built first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Cargo brings everything up to date.
    UpToDate,
    /// What is there is taken as it is.
    AsIs,
}

/// Everything, on CPU 0 for the load and CPU 1 for the servers.
impl Default for Selection {
    fn default() -> Selection {
        let cpus = Cpus { load: 0, server: 1 };
        Selection { scenarios: Vec::new(), peers: Vec::new(), build: Build::UpToDate, cpus }
    }
}

impl Selection {
    /// The scenarios asked for, in the order of the table.
    ///
    /// # Errors
    /// With the name that no scenario has.
    pub fn scenarios(&self) -> Result<Vec<&'static Scenario>, String> {
        let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.name.starts_with(name.as_str()));
        if let Some(name) = self.scenarios.iter().find(|name| !known(name)) {
            return Err(format!("no scenario's name begins with {name}"));
        }
        let wanted = |scenario: &&Scenario| {
            self.scenarios.is_empty()
                || self.scenarios.iter().any(|name| scenario.name.starts_with(name.as_str()))
        };
        Ok(SCENARIOS.iter().filter(wanted).collect())
    }

    /// The servers asked for that those scenarios need, built; and who was asked for and cannot be built, with the reason.
    ///
    /// # Errors
    /// With the name that no server has.
    pub fn servers(&self, scenarios: &[&Scenario], places: &Places) -> Result<Field, String> {
        if let Some(name) = self.peers.iter().find(|name| !SERVERS.iter().any(|server| server.name == **name))
        {
            return Err(format!("no server is named {name}"));
        }
        let wanted = |server: &&Server| {
            let named = self.peers.is_empty() || self.peers.iter().any(|name| name == server.name);
            (named || server.name == BASELINE) && scenarios.iter().any(|scenario| server.takes(scenario))
        };
        let servers: Vec<&Server> = SERVERS.iter().filter(wanted).collect();
        if self.build == Build::AsIs {
            return Ok((servers, Vec::new()));
        }
        let mut field: Field = (Vec::new(), Vec::new());
        for (server, built) in servers.iter().zip(build(&servers, places)) {
            match built {
                Ok(()) => field.0.push(server),
                Err(reason) => field.1.push((server.name, reason)),
            }
        }
        Ok(field)
    }
}

/// Who takes part, and who does not and why.
pub type Field = (Vec<&'static Server>, Vec<(&'static str, String)>);

/// A flag that SIGINT and SIGTERM set; whoever sees it lets go of everything it holds, the servers among it.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn interrupted() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

/// Whether the flag of [`interrupted`] is set.
pub fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
