#!/bin/sh
# The network of a machine that systemd has booted: it is the director, and has a client and a real server in namespaces.
set -eu
echo 1 >/proc/sys/net/ipv4/ip_forward
host() {
    ip netns add "$1"
    ip link add "$2" type veth peer name eth0 netns "$1"
    ip link set "$2" up
    ip -n "$1" link set lo up
    ip -n "$1" link set eth0 up
    ip -n "$1" address add "$3/24" dev eth0
    # Frames of a program reach a veth whose peer takes them so, and nobody finishes their checksums.
    ip netns exec "$1" ethtool --offload eth0 tx off gro on >/dev/null
}
host client eth0 192.0.2.9
host real eth1 10.0.0.11
ip address add 192.0.2.1/24 dev eth0
ip address add 192.0.2.80/32 dev eth0
ip address add 10.0.0.1/24 dev eth1
ip -n real route add default via 10.0.0.1
