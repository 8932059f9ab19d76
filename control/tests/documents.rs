//! Documents that are made from the program: they must be what the program would write.
//!
//! `RVS_WRITE_DOCUMENTS=1 cargo test -p control --test documents` writes them.

use std::path::Path;

fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("RVS_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "docs/{name} is not current; RVS_WRITE_DOCUMENTS=1 cargo test -p control --test documents"
    );
}

#[test]
fn the_protocols_schema_is_current() {
    let schema = serde_json::to_string_pretty(&control::protocol::schema()).unwrap();
    check("control-protocol.schema.json", &(schema + "\n"));
}

/// Commands by their names, wherever they are in the schema.
fn commands(schema: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(name) = schema.pointer("/properties/command/const").and_then(serde_json::Value::as_str) {
        found.push(name.to_owned());
    }
    match schema {
        serde_json::Value::Object(map) => map.values().for_each(|value| commands(value, found)),
        serde_json::Value::Array(values) => values.iter().for_each(|value| commands(value, found)),
        _ => {}
    }
}

#[test]
fn every_command_of_the_protocol_is_described() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/control-protocol.md")).unwrap();
    let mut found = Vec::new();
    commands(&serde_json::to_value(control::protocol::schema()).unwrap(), &mut found);
    assert!(found.len() > 60, "{found:?}");
    found.retain(|name| !text.contains(&format!("`{name}`")) && !text.contains(&format!("\"{name}\"")));
    assert_eq!(found, [""; 0], "not in docs/control-protocol.md");
}

#[test]
fn the_list_of_console_commands_is_current() {
    let head = "# Commands of the console\n\n\
        At the prompt of `rvsadm console`, on the socket (`socat - UNIX:/run/rvs/control.sock`), and after `rvsadm` in a shell \
        (`rvsadm show worker`).\nEvery command line of ipvsadm is one too. `json` as the last word of a `show` makes it JSON. \
        `(a|b)` is one of these, `[a]` may be left out, capitals are for you to fill in.\nMade from the program's own help \
        (`help all`).\n\n```\n";
    check("console.md", &format!("{head}{}\n```\n", control::console::help_all().trim()));
}
