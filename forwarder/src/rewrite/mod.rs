//! Rewriting of packets, one file a forwarding method.
