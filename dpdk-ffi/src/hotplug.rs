//! Devices that come and go while DPDK runs.

use crate::port::{self, PortId};
use crate::{EalHandle, Error, Port, diagnose, error, log};
use dpdk_sys as sys;
use std::ffi::CString;

impl EalHandle {
    /// Adds a device as `--vdev` or `-a` would (`net_tap0,iface=lvs0,mac=02:00:00:00:00:01`); answers its ports.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::Privileges`] or [`Error::Device`].
    pub fn plug(&self, device: &str) -> Result<Vec<PortId>, Error> {
        let name = device.split(',').next().unwrap_or(device);
        let c_device = CString::new(device).map_err(|_| Error::NoDriver(name.escape_default().to_string()))?;
        let _one_at_a_time = self.books();
        let before = port::list();
        let mark = log::mark();
        // SAFETY: the argument is a C string, which the call copies. Needed because it is C's.
        let failed = unsafe { sys::rte_dev_probe(c_device.as_ptr()) };
        let refuse = |reason: &str| Err(Error::Device { device: name.to_owned(), reason: reason.to_owned() });
        if failed != 0 && failed != -libc::EEXIST {
            return Err(diagnose::probe(&log::since(mark), name, error::text(failed)));
        }
        let new: Vec<_> = port::list().into_iter().filter(|id| !before.contains(id)).collect();
        // DPDK is content with a device that is there already.
        if !new.is_empty() {
            Ok(new)
        } else if before.iter().any(|id| port::device_name(*id).is_some_and(|known| known == name)) {
            refuse("it exists already")
        } else {
            refuse("it is there without a port: one that was dropped, not unplugged, cannot be plugged again")
        }
    }
}

impl Port {
    /// Its device, with the arguments that it was added with, as [`EalHandle::plug`] takes it.
    ///
    /// # Errors
    /// [`Error::Port`].
    pub fn device(&self) -> Result<String, Error> {
        let device = self.raw_info()?.device;
        // SAFETY: the device exists as long as the port is not closed; its name and its arguments are C strings that
        // live as long, or NULL. Needed because they are C's.
        let (name, arguments) =
            unsafe { (port::text(sys::rte_dev_name(device)), port::text(sys::shim_device_arguments(device))) };
        Ok(if arguments.is_empty() { name } else { format!("{name},{arguments}") })
    }

    /// Stops the port and removes its device: a virtual one is gone with its kernel interface, a NIC can be plugged again.
    ///
    /// # Errors
    /// The port, unharmed, with [`Error::QueuesInUse`] while a queue is out, [`Error::PortTaken`] while the device has
    /// another port, or [`Error::Port`].
    pub fn unplug(mut self) -> Result<(), (Self, Error)> {
        match self.try_unplug() {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }

    fn try_unplug(&mut self) -> Result<(), Error> {
        self.stop()?;
        let device = self.raw_info()?.device;
        let books = self.shared.eal.books();
        if let Some(PortId(other)) = port::list().into_iter().find(|id| *id != self.id() && port::is_of(*id, device)) {
            return Err(Error::PortTaken(other));
        }
        // SAFETY: the device exists as long as the port is not closed, and the port is stopped without queues. Needed
        // because it is C's.
        let result = unsafe { sys::rte_dev_remove(device) };
        drop(books);
        self.check("be removed", result)?;
        self.forget_device();
        Ok(())
    }
}
