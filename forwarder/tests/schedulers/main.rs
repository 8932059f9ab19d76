//! Schedulers against the recordings of the kernel's, and against simple models of what they promise.

mod corpus;
mod director;
mod ipvsadm;
mod model;
mod properties;
mod rig;
