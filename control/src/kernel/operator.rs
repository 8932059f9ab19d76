//! Commands about neighbours and routes, as the kernel is asked for them. Only ports with an interface in the kernel have
//! such: those of the others are what the configuration file says.

use super::change::{self, Way};
use super::mirror::Asker;
use crate::command::{Command, Error, Reply, RouteSpec};
use crate::config::values;
use std::time::Duration;

/// How long the workers may take until they have what the kernel was told. They have it in some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has the kernel do what operators want.
#[derive(Clone, Debug)]
pub struct Operator {
    /// By port, the name of its interface if it has one.
    interfaces: Vec<Option<String>>,
    asker: Asker,
}

impl Operator {
    /// Of these interfaces, whose kernel the mirror follows.
    #[must_use]
    pub fn new(interfaces: Vec<Option<String>>, asker: Asker) -> Self {
        Self { interfaces, asker }
    }

    /// Does a command about neighbours or routes, and waits until the data path has its effect.
    ///
    /// # Errors
    /// What is wrong with it, or what the kernel says; [`Error::Unsupported`] for any other command.
    pub fn execute(&self, command: &Command) -> Result<Reply, Error> {
        match command {
            Command::AddNeighbour { port, address, mac } => {
                let (interface, mac) = (self.interface(*port, "[[neighbour]]")?, values::mac(mac).map_err(refused)?);
                let address = values::address(&address.to_string()).map_err(refused)?;
                change::add_neighbour(interface, address, mac).map_err(refused)?;
            }
            Command::DeleteNeighbour { port, address } => {
                change::delete_neighbour(self.interface(*port, "[[neighbour]]")?, *address).map_err(refused)?;
            }
            Command::AddRoute(route) => {
                if route.via.is_none() && route.port.is_none() {
                    return Err(refused("a route has a gateway (via) or a port"));
                }
                change::add_route(&self.way(route)?).map_err(refused)?;
            }
            Command::DeleteRoute(route) => change::delete_route(&self.way(route)?).map_err(refused)?,
            _ => return Err(Error::Unsupported { what: "this".to_owned() }),
        }
        if self.asker.settle(PATIENCE) {
            return Ok(Reply::Done);
        }
        Err(refused("the kernel did it, but its mirror has not followed in time; see the log"))
    }

    fn interface(&self, port: u16, section: &str) -> Result<&str, Error> {
        match self.interfaces.get(usize::from(port)) {
            Some(Some(name)) => Ok(name),
            Some(None) => {
                let why = format!("it has no interface in the kernel: {section} in the configuration file is for it");
                Err(Error::Port { port, why })
            }
            None => {
                let valid = (0..self.interfaces.len()).filter_map(|port| u16::try_from(port).ok()).collect();
                Err(Error::NoSuchPort { port, valid })
            }
        }
    }

    fn way(&self, route: &RouteSpec) -> Result<Way, Error> {
        let interface = route.port.map(|port| self.interface(port, "[[route]]").map(str::to_owned)).transpose()?;
        let network = values::destination(&route.to).map_err(refused)?;
        Ok(Way { network, gateway: route.via, interface, metric: route.metric })
    }
}

fn refused(why: impl ToString) -> Error {
    Error::Refused { why: why.to_string() }
}
