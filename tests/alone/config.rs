//! The file of a running director: taken over at the start, by `config reload` and by SIGHUP, as a whole or not at all.

use super::{Alone, SERVICES, eventually, file};

/// The table as rules.
fn rules(director: &Alone) -> String {
    director.rvsadm(&["-S", "-n"])
}

const FIRST: &str = "-A -t 172.16.0.1:80 -s wlc\n-a -t 172.16.0.1:80 -r 10.0.0.2:80 -m -w 3\n-A -f 7 -s rr\n";

#[test]
fn a_file_is_taken_over_as_a_whole() {
    let director = Alone::start(SERVICES);
    assert_eq!(rules(&director), FIRST);
    let write = |services: &str| std::fs::write(director.at("rvs.toml"), file(services)).expect("a file");

    // Nothing has changed, so nothing changes.
    let said = director.rvsadm(&["config", "diff"]);
    assert!(!said.contains("10.0.0.2"), "{said}");

    // One weight changes, a server comes, a service goes. diff says so, and does nothing.
    let changed =
        SERVICES.replace("weight = 3", "weight = 5\n\n[[service.server]]\naddress = \"10.0.0.3\"\nmethod = \"nat\"");
    let changed = changed.split("[[service]]\nfwmark").next().expect("a part").to_owned();
    write(&changed);
    let said = director.rvsadm(&["config", "diff"]);
    assert!(said.contains("10.0.0.3") && said.contains("fwmark 7"), "{said}");
    assert_eq!(rules(&director), FIRST);
    let second = "-A -t 172.16.0.1:80 -s wlc\n-a -t 172.16.0.1:80 -r 10.0.0.2:80 -m -w 5\n\
                  -a -t 172.16.0.1:80 -r 10.0.0.3:80 -m -w 1\n";
    director.rvsadm(&["config", "reload"]);
    assert_eq!(rules(&director), second);

    // A bad file changes nothing, whoever asks; what is right in it neither.
    write(&(SERVICES.to_owned() + "[[service]]\ntcp = \"172.16.0.1:443\"\nscheduler = \"wlcc\"\n"));
    let refused = director.call(&["config", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "as rvsd check says: {refused:?}");
    assert!(said.contains("line ") && said.contains("did you mean 'wlc'?"), "{said}");
    director.signal("-HUP");
    director.hear("RELOADING=1");
    director.hear("READY=1");
    assert_eq!(rules(&director), second);
    assert!(director.log().contains("nothing was changed"), "{}", director.log());

    // SIGHUP takes over a good one; what was added at run time stays, as the file says nothing of it.
    director.rvsadm(&["-A", "-t", "172.16.0.1:22", "-s", "rr"]);
    write(SERVICES);
    director.signal("-HUP");
    eventually("the first table", || rules(&director).contains("-A -f 7 -s rr"));
    let running = director.rvsadm(&["config", "show", "running"]);
    std::fs::write(director.at("again.toml"), &running).expect("a new file");
    assert_eq!(
        director.rvsadm(&["config", "check", &director.at("again.toml").display().to_string()]).lines().count(),
        1
    );
    let metrics = director.get("/metrics").1;
    for line in ["rvs_config_reloads_total{result=\"success\"} 2", "rvs_config_reloads_total{result=\"failure\"} 2"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing:\n{metrics}");
    }
}
