use super::*;
use crate::command::Command;
use crate::ipvsadm::names::Table;

fn keepalived(text: &str) -> Result<Converted, String> {
    assert_eq!(Format::of(text), Format::Keepalived);
    convert(text, Format::Keepalived, &Table::default())
}

/// The rules that a file stands for.
fn rules(file: &str) -> String {
    let config = Config::parse(file).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{file}"));
    let mut draft = Trial::new(Limits::default());
    for service in config.services {
        let name = service.spec.service;
        draft.execute(Command::AddService(service.spec)).expect("it was checked");
        for server in service.servers {
            draft.execute(Command::AddServer { service: name, server }).expect("it was checked");
        }
    }
    let mut output = Vec::new();
    let mut session = Session {
        program: "ipvsadm",
        executor: &mut draft,
        names: &Table::default(),
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut std::io::sink(),
    };
    session.run(&["-S", "-n", "--full"].map(str::to_owned));
    let rules = String::from_utf8(output).expect("text");
    rules.split_inclusive('\n').filter(|line| !line.starts_with("--set")).collect()
}

const KEEPALIVED: &str = r#"
! Configuration File for keepalived
global_defs {
    router_id LVS_DEVEL   # a comment
}
vrrp_instance VI_1 {
    state MASTER
    virtual_ipaddress { 192.0.2.1/24 dev eth0 }
}
virtual_server_group WEB {
    192.0.2.20-21 80
    fwmark 7
}
virtual_server 192.0.2.1 443 {
    delay_loop 6
    lb_algo wrr
    lb_kind NAT
    persistence_timeout 50
    persistence_granularity 255.255.255.0
    protocol TCP
    sorry_server 192.168.200.200 1358
    real_server 10.0.0.2 8443 {
        weight 3
        uthreshold 100
        lthreshold 80
        SSL_GET {
            url {
              path /
              digest ff20ad2481f97b1754ef3e12ecd3a9cc
            }
            connect_timeout 3
        }
    }
    real_server 10.0.0.3 8443 { weight 0 }
}
virtual_server group WEB
{
    lvs_sched sh
    sh-port
    lvs_method TUN type gue port 6080 csum
    real_server 10.0.1.2 80 {
        TCP_CHECK {
        }
    }
}
virtual_server 192.0.2.1 53 {
    protocol UDP
    ops
    lb_kind DR
    real_server 10.0.0.4 53
}
"#;

#[test]
fn virtual_servers_of_keepalived_become_services() {
    let Converted { file, notes } = keepalived(KEEPALIVED).expect("it is right");
    assert_eq!(
        rules(&file),
        "-A -t 192.0.2.1:443 -s wrr -p 50 -M 255.255.255.0\n\
         -a -t 192.0.2.1:443 -r 10.0.0.2:8443 -m -w 3 -x 100 -y 80\n\
         -a -t 192.0.2.1:443 -r 10.0.0.3:8443 -m -w 0\n\
         -A -t 192.0.2.20:80 -s sh -b sh-port\n\
         -a -t 192.0.2.20:80 -r 10.0.1.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n\
         -A -t 192.0.2.21:80 -s sh -b sh-port\n\
         -a -t 192.0.2.21:80 -r 10.0.1.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n\
         -A -u 192.0.2.1:53 -s wlc -o\n\
         -a -u 192.0.2.1:53 -r 10.0.0.4:53 -g -w 1\n\
         -A -f 7 -s sh -b sh-port\n\
         -a -f 7 -r 10.0.1.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n"
    );
    let said: Vec<(usize, &str)> =
        notes.iter().map(|note| (note.line, note.message.split(' ').next().unwrap_or_default())).collect();
    let expected = [
        (3, "global_defs"),
        (6, "vrrp_instance"),
        (15, "delay_loop"),
        (21, "sorry_server"),
        (26, "SSL_GET"),
        (42, "TCP_CHECK"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    let text = "virtual_server 192.0.2.1 80 {\n lb_algo round\n lb_kind FNAT\n real_server 10.0.0 80 {\n weight many\n }\n}\n\
                virtual_server group NOBODY {\n}\n}\nvirtual_server 192.0.2.2 99999 {\n";
    let said = keepalived(text).unwrap_err();
    for line in [
        "line 2: there is no scheduler 'round'",
        "line 3: 'FNAT' is no method: NAT, DR or TUN",
        "line 4: '10.0.0' is no address",
        "line 8: there is no virtual_server_group NOBODY",
        "line 10: '}' closes nothing",
        "line 11: '99999' is no port (0 to 65535)",
        "line 11: '{' is never closed",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} is missing:\n{said}");
    }
    let twice = "virtual_server 192.0.2.1 80 {\n}\nvirtual_server 192.0.2.1 80 {\n}\n";
    assert_eq!(keepalived(twice).unwrap_err(), "line 3: Service already exists");
    assert!(keepalived("$VIP=192.0.2.1\n").unwrap_err().starts_with("line 1: '$VIP=192.0.2.1' is not followed"));
}

#[test]
fn rules_of_ipvsadm_become_a_file() {
    let text = "# saved\n-A -t 192.0.2.1:80 -s wlc -p 300\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 2 -x 9 -y 3\n";
    assert_eq!(Format::of(text), Format::Rules);
    let Converted { file, notes } = convert(text, Format::Rules, &Table::default()).expect("they are right");
    assert_eq!((rules(&file).as_str(), notes), (text.trim_start_matches("# saved\n"), Vec::new()));
    let wrong = convert("-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n", Format::Rules, &Table::default());
    assert_eq!(wrong.unwrap_err(), "line 2: Service already exists; nothing was changed");
}

proptest::proptest! {
    /// Whatever a text says, it becomes a file that rvsd takes, or mistakes.
    #[test]
    fn any_text_is_answered(text in "((virtual_server(_group)?|real_server|lb_kind|group|weight|\\{|\\}|1\\.2\\.3\\.4|80|[a-z]{1,4}|\"|!)[ \n]){0,40}") {
        if let Ok(Converted { file, .. }) = convert(&text, Format::Keepalived, &Table::default()) {
            proptest::prop_assert!(Config::parse(&file).is_ok(), "{}", file);
        }
    }
}
