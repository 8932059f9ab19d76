//! Several workers on queues in memory, directed by ipvsadm's commands: whatever queue a frame comes by, it is treated as
//! one worker alone would treat it, nothing is lost, and nothing of a flow overtakes anything.

mod exceptions;
mod flush;
mod loads;
mod ownership;
mod packets;
mod persistence;
mod rig;
mod threads;
mod together;
mod watching;
