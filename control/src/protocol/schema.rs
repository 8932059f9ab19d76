//! The JSON schema of the protocol, made from its types.

use super::watch::EventLine;
use super::{Answer, Id, Watch};
use crate::command::{Command, Reply};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};

/// The schema: `#/$defs/Request`, `#/$defs/Answer` and `#/$defs/EventLine` are what lines may be.
#[must_use]
pub fn schema() -> Value {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let command = generator.subschema_for::<Command>().to_value();
    let watch = generator.subschema_for::<Watch>().to_value();
    let id = generator.subschema_for::<Id>().to_value();
    let answer = generator.subschema_for::<Answer<Reply>>().to_value();
    let event = generator.subschema_for::<EventLine>().to_value();
    let mut definitions = generator.take_definitions(true);
    let resolve = |reference: &Value| -> Value {
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        definitions.get(name).cloned().unwrap_or_default()
    };
    // Every request may have an id and the protocol's version beside what its command has.
    let with_id = |mut schema: Value| {
        if let Some(properties) = schema["properties"].as_object_mut() {
            properties.insert("id".to_owned(), id.clone());
            properties.insert("protocol_version".to_owned(), json!({ "const": super::PROTOCOL }));
        }
        schema
    };
    let commands = resolve(&command)["oneOf"].as_array().cloned().unwrap_or_default();
    let mut requests: Vec<Value> = commands.into_iter().map(with_id).collect();
    let mut watch = resolve(&watch);
    watch["properties"]["command"] = json!({ "const": "watch" });
    watch["required"] = json!(["command"]);
    requests.push(with_id(watch));
    let simple = |description: &str, command: Value| {
        with_id(json!({
            "type": "object", "description": description, "properties": { "command": command },
            "required": ["command"], "additionalProperties": false,
        }))
    };
    requests.push(simple("Events end.", json!({ "const": "unwatch" })));
    requests.push(simple(
        "A line of the console or of ipvsadm.",
        json!({ "type": "string", "pattern": "\\s|^-|^(ipvsadm|help|start|stop|quit|exit|save)$" }),
    ));
    definitions.insert("Request".to_owned(), json!({ "description": "A request.", "anyOf": requests }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RVS control protocol",
        "description": "Lines of JSON on the control socket: a Request from the client, an Answer or an EventLine from rvsd.",
        "anyOf": [{ "$ref": "#/$defs/Request" }, answer, event],
        "$defs": definitions,
    })
}
