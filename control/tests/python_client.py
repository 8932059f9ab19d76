"""Run by protocol.rs with a socket and the protocol's schema: the example client does what it says, and every line that
is sent or received is what the schema allows (where python3-jsonschema is installed)."""

import itertools
import json
import sys

from rvs_client import Client, Refused

try:
    import jsonschema
except ImportError:
    jsonschema = None


class Checked(Client):
    """Holds each line against the schema."""

    def __init__(self, path, schema):
        super().__init__(path)
        reference = lambda name: {"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}
        validator = jsonschema and (lambda name: jsonschema.Draft202012Validator(reference(name)))
        self.validators = {name: validator(name) for name in ("Request", "Answer", "EventLine")} if validator else {}
        self.checked = 0

    def check(self, name, value):
        if name in self.validators:
            self.validators[name].validate(value)
            self.checked += 1

    def do(self, command, **fields):
        self.check("Request", {"id": 1, "command": command, **fields})
        return super().do(command, **fields)

    def read(self):
        line = super().read()
        # What lines of the console show has no schema.
        reply = line.get("reply")
        if "event" in line:
            self.check("EventLine", line)
        elif not (isinstance(reply, dict) and set(reply) & {"text", "count", "drops"}):
            self.check("Answer", line)
        return line


def refused(call):
    try:
        call()
    except Refused as error:
        return error
    raise AssertionError("not refused")


path, schema = sys.argv[1], json.load(open(sys.argv[2]))
service = {"address": {"protocol": "tcp", "address": "10.0.0.1", "port": 80}}
with Checked(path, schema) as rvs, Client(path) as other:
    assert rvs.do("version")["version"]["protocol"] == 1
    assert rvs.line("service add tcp 10.0.0.1:80 scheduler rr") == "done"
    assert rvs.do("add_server", service=service, server={"address": "10.0.0.2", "port": 8080, "method": "nat", "weight": 3}) == "done"
    tunnel = {"address": "10.0.0.3", "port": 80, "method": {"tun": {"gue": {"port": 6080}}}}
    assert rvs.do("add_server", service=service, server=tunnel) == "done"
    (view,) = rvs.do("services")["services"]
    assert [server["config"]["weight"] for server in view["servers"]] == [1, 3], view
    assert rvs.line("ipvsadm -Ln --nosort") == rvs.do("services")
    assert rvs.line("save")["text"].startswith("-A -t 10.0.0.1:80 -s rr\n")
    assert rvs.line("show conn count") == {"count": 2500}
    assert refused(lambda: rvs.line("service add tcp 10.0.0.1:80")).error == {"error": "service_exists"}
    assert refused(lambda: rvs.line("frobnicate it")).error["error"] == "bad_request"
    assert str(refused(lambda: rvs.do("delete_service", service={"mark": {"mark": 9}}))) == "No such service"
    commands = [{"command": "clear"}, {"command": "delete_service", "service": service}]
    assert refused(lambda: rvs.do("transaction", commands=commands)).error["index"] == 1
    assert len(rvs.do("services")["services"]) == 1
    mark = {"protocol": "udp", "destination": "192.0.2.0/24", "ports": [53, 53], "mark": 7}
    assert rvs.do("add_mark", **mark) == "done"
    assert rvs.do("marks")["marks"] == [mark]
    assert len(rvs.do("settings")["settings"]) > 10
    for question in ("timeouts", "daemons", "statistics", "connections"):
        assert rvs.do(question, **({"cursor": 0} if question == "connections" else {})) is not None

    events = rvs.watch(["changes", "services"])
    first = next(events)
    assert "services" in first, first
    other.do("set_timeouts", tcp=0, tcp_fin=0, udp=60)
    change = next(event for event in itertools.islice(events, 20) if "changes" in event)["changes"]
    assert change["changes"][0]["change"] == {"command": "set_timeouts", "tcp": 0, "tcp_fin": 0, "udp": 60}, change
    assert rvs.do("timeouts")["timeouts"]["udp"] == 60
    assert rvs.do("unwatch") == "done"
    print("checked", rvs.checked)
