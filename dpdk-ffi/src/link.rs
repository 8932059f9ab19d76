//! A port's link.

use crate::{Error, Port};
use dpdk_sys as sys;

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// True if frames can pass.
    pub up: bool,
    /// Mbit/s, if known.
    pub speed: Option<u32>,
    /// True for full duplex.
    pub full_duplex: bool,
}

impl Port {
    /// The state of its link, without waiting for it to settle.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn link(&self) -> Result<Link, Error> {
        // SAFETY: the structure is plain numbers, for which zero is valid, and the call fills it. Needed because it is C's.
        let (result, link) = unsafe {
            let mut link: sys::rte_eth_link = std::mem::zeroed();
            (sys::rte_eth_link_get_nowait(self.shared.id, &raw mut link), link)
        };
        self.check("tell its link's state", result)?;
        Ok(Link {
            up: link.link_status() == 1,
            speed: (link.link_speed != sys::SHIM_SPEED_UNKNOWN && link.link_speed != 0).then_some(link.link_speed),
            full_duplex: link.link_duplex() == 1,
        })
    }

    /// Lets its link come up, or takes it down.
    ///
    /// # Errors
    /// [`Error::NoLink`] from a driver that cannot, as those of virtual devices; [`Error::Port`].
    pub fn set_link(&mut self, up: bool) -> Result<(), Error> {
        let id = self.shared.id;
        // SAFETY: takes no pointer. Needed because it is C's.
        let result = unsafe { if up { sys::rte_eth_dev_set_link_up(id) } else { sys::rte_eth_dev_set_link_down(id) } };
        if result == -libc::ENOTSUP {
            return Err(Error::NoLink { port: id, driver: self.info()?.driver });
        }
        self.check(if up { "set its link up" } else { "set its link down" }, result)
    }
}
