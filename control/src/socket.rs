//! What both ends of the control socket agree on: where it is, and how long a line may be. What lines mean is the
//! console's and the protocol's.

use std::path::PathBuf;

/// Where the socket is if nobody says.
pub const DEFAULT: &str = "/run/rvs/control.sock";

/// The environment variable that says it.
pub const VARIABLE: &str = "RVS_SOCKET";

/// The longest request, bytes: a transaction of a hundred thousand servers fits.
pub const LONGEST: usize = 32 << 20;

/// The longest answer, bytes: a list of half a million servers fits.
pub const LONGEST_ANSWER: u64 = 256 << 20;

/// The socket's path: what was said on the command line, else the environment, else the default.
#[must_use]
pub fn path(said: Option<PathBuf>) -> PathBuf {
    let from_environment = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    said.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT))
}
