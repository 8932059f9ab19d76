//! Finds DPDK with pkg-config, compiles the shim and binds what `FUNCTIONS` and `TYPES` list.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The functions that `dpdk-ffi` calls, besides those of the shim.
const FUNCTIONS: &[&str] = &[
    // EAL
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_eal_has_hugepages",
    "rte_set_application_usage_hook",
    "rte_log_cur_msg_loglevel",
    "rte_strerror",
    "rte_get_tsc_hz",
    // lcores
    "rte_get_main_lcore",
    "rte_get_next_lcore",
    "rte_lcore_to_socket_id",
    "rte_lcore_to_cpu_id",
    "rte_eal_get_lcore_state",
    "rte_eal_remote_launch",
    "rte_eal_wait_lcore",
    "rte_thread_register",
    "rte_thread_unregister",
    // memory pools and frames
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_free_bulk",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_malloc_get_socket_stats",
    "rte_socket_count",
    "rte_socket_id_by_idx",
    // devices
    "rte_dev_name",
    "rte_dev_probe",
    "rte_dev_remove",
    // ports
    "rte_eth_find_next_owned_by",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_info_get",
    "rte_eth_dev_configure",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_hash_update",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_dev_close",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_set_mtu",
    "rte_eth_macaddr_get",
    "rte_eth_dev_default_mac_addr_set",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_disable",
    "rte_eth_allmulticast_enable",
    "rte_eth_allmulticast_disable",
    "rte_eth_dev_set_link_up",
    "rte_eth_dev_set_link_down",
    "rte_eth_dev_conf_get",
    "rte_eth_rx_queue_info_get",
    "rte_eth_tx_queue_info_get",
    "rte_eth_rx_burst_mode_get",
    "rte_eth_tx_burst_mode_get",
    "rte_eth_link_get_nowait",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_eth_xstats_reset",
    // telemetry
    "rte_telemetry_register_cmd",
    "rte_tel_data_alloc",
    "rte_tel_data_free",
    "rte_tel_data_start_array",
    "rte_tel_data_start_dict",
    "rte_tel_data_add_array_string",
    "rte_tel_data_add_dict_string",
    "rte_tel_data_add_dict_container",
];

/// Types that no listed function names.
const TYPES: &[&str] = &["rte_lcore_state_t", "rte_mempool_cache"];

/// Types that are only pointed to: their insides stay DPDK's.
const OPAQUE: &[&str] = &["rte_mbuf", "rte_mempool", "rte_device", "rte_mempool_cache", "rte_mempool_memhdr"];

/// The libraries that the functions above and the shim live in. Drivers are loaded by the EAL itself at run time.
const LIBRARIES: &[&str] = &["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring", "rte_telemetry", "rte_eal"];

fn main() {
    println!("cargo::rerun-if-changed=shim.h");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");

    pkg_config(&["--atleast-version=22.11"]);
    let flags = pkg_config(&["--cflags"]);

    let mut shim = cc::Build::new();
    for flag in &flags {
        shim.flag(flag);
    }
    // DPDK's headers, not our code, use what this warns about.
    shim.flag("-Wno-unused-parameter").file("shim.c").opt_level(3).compile("rvs_dpdk_shim");

    for directory in pkg_config(&["--libs-only-L"]) {
        println!("cargo::rustc-link-search=native={}", directory.trim_start_matches("-L"));
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }

    let mut builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(&flags)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .rust_target(bindgen::RustTarget::stable(85, 0).expect("1.85 is a version that bindgen knows"))
        .wrap_unsafe_ops(true)
        .use_core()
        .generate_comments(false)
        .prepend_enum_name(false)
        .allowlist_function("shim_.*")
        .allowlist_type("shim_.*")
        .allowlist_var("SHIM_.*");
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    builder.generate().expect("bind DPDK's headers").write_to_file(out).expect("write the bindings");
}

/// The words that pkg-config answers about libdpdk; ends the build with what to do if it cannot.
fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    match Command::new(&program).args(arguments).arg("libdpdk").output() {
        Ok(answer) if answer.status.success() => {
            String::from_utf8_lossy(&answer.stdout).split_whitespace().map(str::to_owned).collect()
        }
        Ok(answer) => panic!(
            "DPDK 22.11 or later is needed: apt-get install libdpdk-dev ({} {}: {})",
            program,
            arguments.join(" "),
            String::from_utf8_lossy(&answer.stderr).trim()
        ),
        Err(error) => panic!("{program} cannot be run ({error}): apt-get install pkg-config libdpdk-dev"),
    }
}
