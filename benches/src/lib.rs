//! What benches and their tests share: the traffic they forward, and the recordings they keep it in.
//!
//! [`traffic`] is pure: which flows there are, their frames, and what becomes of each when it is forwarded, worked out
//! here a second time, without the data path's code. [`pcap`] writes and reads capture files. [`rig`] is a director on
//! frames that [`replay`] hands out from memory, and [`measure`] a stop-watch beside it: what `rvsd bench` runs.

pub mod frames;
pub mod measure;
pub mod pcap;
pub mod replay;
pub mod rig;
pub mod traffic;
