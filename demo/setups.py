"""The three classic LVS set-ups, as tutorials write them."""

from dataclasses import dataclass

VIP = "192.168.0.254"


@dataclass
class SetUp:
    """Commands for the director and for each of its real servers, and what they promise."""

    title: str
    url: str
    weights: dict  # by real server
    director: str
    server: str = ""

    def share(self, server):
        """The part of all answers that the weights promise to a server."""
        return self.weights.get(server, 0) / sum(self.weights.values())


NAT = SetUp(
    title="NAT: the director is the real servers' gateway",
    url="http://172.16.0.1/",
    weights={"rs2": 2, "rs3": 3},
    director="""\
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -s 192.168.1.0/24 -j MASQUERADE
ipvsadm -C
ipvsadm -A -t 172.16.0.1:80 -s wrr
ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 2
ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.3:80 -m -w 3
""",
)

TUN = SetUp(
    title="TUN: to the real servers in a tunnel, from them straight to the client",
    url=f"http://{VIP}/",
    weights={"rs2": 1, "rs3": 1},
    director=f"""\
VIP={VIP}
ip addr add $VIP/32 dev lvs1
ip route add $VIP/32 dev lvs1
ipvsadm -C
ipvsadm -A -t $VIP:80 -s wlc
ipvsadm -a -t $VIP:80 -r 192.168.0.2:80 -i -w 1
ipvsadm -a -t $VIP:80 -r 192.168.0.3:80 -i -w 1
""",
    server=f"""\
VIP={VIP}
ip addr add $VIP/32 dev tunl0
ip link set tunl0 up
for i in all tunl0; do
    echo 1 > /proc/sys/net/ipv4/conf/$i/arp_ignore
    echo 2 > /proc/sys/net/ipv4/conf/$i/arp_announce
    echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter
done
""",
)

DR = SetUp(
    title="DR: to the real servers by their MAC addresses, from them straight to the client",
    url=f"http://{VIP}/",
    weights={"rs3": 1, "rs4": 1},
    director=f"""\
VIP={VIP}
ip addr add $VIP/32 dev lvs1
ip route add $VIP/32 dev lvs1
ipvsadm -C
ipvsadm -A -t $VIP:80 -s wlc
ipvsadm -a -t $VIP:80 -r 192.168.0.3:80 -g -w 1
ipvsadm -a -t $VIP:80 -r 192.168.0.4:80 -g -w 1
""",
    server=f"""\
VIP={VIP}
ip addr add $VIP/32 dev lo
for i in all lo; do
    echo 1 > /proc/sys/net/ipv4/conf/$i/arp_ignore
    echo 2 > /proc/sys/net/ipv4/conf/$i/arp_announce
done
""",
)
