//! The settings of the kernel's `/proc/sys/net/ipv4/vs`: names, defaults and what each takes.
//!
//! Every name of the kernel is here, so that scripts which write them run; the data path obeys those that
//! [`forwarder::service::Settings`] has.

use crate::command::{Error, Setting};

/// A setting: one number, or a few in one file.
struct Definition {
    name: &'static str,
    default: &'static [i64],
    /// Smallest and largest value.
    range: (i64, i64),
}

const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);
const COUNT: (i64, i64) = (0, i32::MAX as i64);

const fn number(name: &'static str, default: &'static [i64], range: (i64, i64)) -> Definition {
    Definition { name, default, range }
}

/// Linux 6.1, `net/netfilter/ipvs/ip_vs_ctl.c`; expirations in seconds. `sync_qlen_max` depends on the memory there.
const DEFINITIONS: &[Definition] = &[
    number("am_droprate", &[10], INT),
    number("amemthresh", &[1024], INT),
    number("backup_only", &[0], INT),
    number("cache_bypass", &[0], INT),
    number("conn_reuse_mode", &[1], INT),
    number("conntrack", &[0], INT),
    number("debug_level", &[0], INT),
    number("drop_entry", &[0], (0, 3)),
    number("drop_packet", &[0], (0, 3)),
    number("expire_nodest_conn", &[0], INT),
    number("expire_quiescent_template", &[0], INT),
    number("ignore_tunneled", &[0], INT),
    number("lblc_expiration", &[86_400], COUNT),
    number("lblcr_expiration", &[86_400], COUNT),
    number("nat_icmp_send", &[0], INT),
    number("pmtu_disc", &[1], INT),
    number("run_estimation", &[1], INT),
    number("schedule_icmp", &[0], INT),
    number("secure_tcp", &[0], (0, 3)),
    number("sloppy_sctp", &[0], INT),
    number("sloppy_tcp", &[0], INT),
    number("snat_reroute", &[1], INT),
    number("sync_persist_mode", &[0], INT),
    number("sync_ports", &[1], (1, 128)),
    number("sync_qlen_max", &[7837], INT),
    number("sync_refresh_period", &[0], COUNT),
    number("sync_retries", &[0], (0, 3)),
    number("sync_sock_size", &[0], INT),
    number("sync_threshold", &[3, 50], COUNT),
    number("sync_version", &[1], (0, 1)),
];

/// The values of every setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    values: Vec<Vec<i64>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { values: DEFINITIONS.iter().map(|definition| definition.default.to_vec()).collect() }
    }
}

impl Settings {
    /// The first number of a setting; 0 if there is none of this name.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        index(name).map_or(0, |index| self.values[index][0])
    }

    /// True unless the setting is 0.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.number(name) != 0
    }

    /// Writes a setting as the kernel's file would be written: numbers divided by blanks, as many as it has.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let index = index(name).ok_or_else(|| Error::NoSuchSetting { name: name.to_owned() })?;
        let Definition { default, range: (least, most), .. } = DEFINITIONS[index];
        let numbers: Option<Vec<i64>> = value.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        match numbers {
            Some(numbers) if numbers.len() == default.len() && numbers.iter().all(|n| (least..=most).contains(n)) => {
                self.values[index] = numbers;
                Ok(())
            }
            _ => Err(Error::BadSetting {
                name: name.to_owned(),
                value: value.to_owned(),
                takes: match default.len() {
                    1 => format!("{least} to {most}"),
                    count => format!("{count} numbers from {least} to {most}"),
                },
            }),
        }
    }

    /// All of them, by name, as the kernel's files read.
    #[must_use]
    pub fn list(&self) -> Vec<Setting> {
        let text = |values: &Vec<i64>| values.iter().map(i64::to_string).collect::<Vec<_>>().join("\t");
        DEFINITIONS
            .iter()
            .zip(&self.values)
            .map(|(definition, values)| Setting { name: definition.name.to_owned(), value: text(values) })
            .collect()
    }

    /// What the data path obeys.
    #[must_use]
    pub fn for_forwarder(&self) -> forwarder::service::Settings {
        forwarder::service::Settings {
            expire_nodest_conn: self.is_on("expire_nodest_conn"),
            expire_quiescent_template: self.is_on("expire_quiescent_template"),
            conn_reuse_mode: self.number("conn_reuse_mode") as u8,
            sloppy_tcp: self.is_on("sloppy_tcp"),
            sloppy_sctp: self.is_on("sloppy_sctp"),
            secure_tcp: self.number("secure_tcp") as u8,
            nat_icmp_send: self.is_on("nat_icmp_send"),
            pmtu_disc: self.is_on("pmtu_disc"),
            cache_bypass: self.is_on("cache_bypass"),
            lblc_expiration: self.number("lblc_expiration") as u32,
            lblcr_expiration: self.number("lblcr_expiration") as u32,
        }
    }
}

fn index(name: &str) -> Option<usize> {
    DEFINITIONS.iter().position(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_data_paths_defaults() {
        assert_eq!(Settings::default().for_forwarder(), forwarder::service::Settings::default());
    }

    #[test]
    fn a_written_setting_is_read_back() {
        let mut settings = Settings::default();
        settings.set("sync_threshold", "5 60\n").unwrap();
        settings.set("expire_nodest_conn", "1").unwrap();
        assert!(settings.list().contains(&Setting { name: "sync_threshold".into(), value: "5\t60".into() }));
        assert!(settings.for_forwarder().expire_nodest_conn);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused_and_changes_nothing() {
        let mut settings = Settings::default();
        for (name, value) in [("secure_tcp", "4"), ("secure_tcp", "x"), ("secure_tcp", ""), ("sync_threshold", "3")] {
            assert!(matches!(settings.set(name, value), Err(Error::BadSetting { .. })), "{name} {value}");
        }
        assert!(matches!(settings.set("no_such", "1"), Err(Error::NoSuchSetting { .. })));
        assert_eq!(settings, Settings::default());
    }
}
