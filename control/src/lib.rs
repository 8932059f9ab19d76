//! Control of a running director, without DPDK: commands, desired state, ipvsadm's grammar and output, the socket and
//! its client, the configuration file, and the mirror of the kernel's routes.
//!
//! Every front end makes a [`command::Command`] and gets a [`command::Reply`]; nothing else changes the director.

pub mod client;
pub mod command;
pub mod config;
pub mod console;
pub mod convert;
pub mod director;
pub mod doctor;
pub mod generate;
pub mod interactive;
pub mod ipvsadm;
pub mod kernel;
pub mod metrics;
pub mod packet;
pub mod procfs;
pub mod progress;
pub mod protocol;
pub mod publish;
pub mod server;
pub mod socket;
pub mod state;
pub mod top;
